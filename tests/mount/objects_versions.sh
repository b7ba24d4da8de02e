#!/bin/bash
# A container with versioning keeps what is overwritten and removed, and versions/NAME/TIME shows it: read, brought back by cp and mv, removed.
. "$(dirname "$0")/lib.sh"
cloud_up
mkdir "$CLOUD/tenants/acme" "$CLOUD/tenants/acme/containers/site" "$CLOUD/tenants/acme/containers/other"
C=$CLOUD/tenants/acme/containers/site O=$CLOUD/tenants/acme/containers/site/objects V=$CLOUD/tenants/acme/containers/site/versions
count() { find "$V/$1" -type f ! -name '*.removed' | wc -l; }

put one "$O/a"; put two "$O/a"
is "without versioning nothing is kept" "$(ls "$V")" ""
put true "$C/versioning"

# ---- what becomes one: each close, however fast the next writer comes
for i in $(seq 100); do put "v$i" "$O/fast"; done
is "a hundred writes, one after the other, leave 99" "$(count fast)" 99
is "... in order, the oldest first" "$(cat "$V"/fast/* | tr '\n' ' ' | cut -c 1-12)" "v1 v2 v3 v4 "
for i in $(seq 30); do echo "v$i" >> "$O/log"; done
is "thirty appends leave 29" "$(count log)" 29
is "... each with what there was then" "$(cat "$(ls "$V"/log/* | sed -n 3p)" | tr '\n' ' ')" "v1 v2 v3 "
for i in $(seq 20); do put "v$i" "$O/tmp"; mv "$O/tmp" "$O/renamed"; done
is "twenty renames over it leave 19" "$(count renamed)" 19
for i in $(seq 10); do put "v$i" "$O/gone"; rm "$O/gone"; done
is "what is removed right after it was written is kept" "$(count gone) $(ls "$V"/gone/*.removed | wc -l)" "10 10"
is "... and a removal is marked by an empty file" "$(cat "$V"/gone/*.removed | wc -c)" 0
put same "$O/same"; put same "$O/same"
is "the same content again is no new one" "$(ls "$V" | grep -c same)" 0
{ echo a; /bin/echo b; sleep 0.3; /bin/echo c; } > "$O/shared"
is "a descriptor that several programs write through makes one content" "$(ls "$V" | grep -c shared; cat "$O/shared" | wc -l)" $'0\n3'
python3 - "$O/sync" > "$WORK/out" << 'P'
import os, sys
f = os.open(sys.argv[1], os.O_WRONLY | os.O_CREAT)
for i in range(5):
    os.pwrite(f, b"%d" % i, 0)
    os.fsync(f)
P
is "each fsync makes one" "$(count sync)" 4

# ---- as directories
mkdir -p "$O/photos/2026"
put 1 "$O/photos/2026/a.jpg"; put 2 "$O/photos/2026/a.jpg"; put 1 "$O/photos/b"; put 2 "$O/photos/b"
is "paths are directories" "$(cd "$V" && find photos -type d | sort | tr '\n' ' ')" "photos photos/2026 photos/2026/a.jpg photos/b "
is "the file's name is the time it was replaced" "$(date -u +%Y-%m-%dT)" "$(ls "$V/photos/b" | cut -c 1-11)"
is "its time is the content's own" "$(touch -d '2001-02-03 UTC' "$O/photos/b"; put 3 "$O/photos/b"; stat -c %Y "$V"/photos/b/* | sort -n | head -n 1)" "$(date -d '2001-02-03 UTC' +%s)"
rm -r "$O/photos/2026"; put file "$O/photos/2026"; put file2 "$O/photos/2026"
is "a name that was a directory and is a file now has both" "$(ls "$V/photos/2026" | sed 's/.*Z$/TIME/' | sort | tr '\n' ' ')" "TIME a.jpg "
python3 - "$O/x" "$V/x" > "$WORK/out" << 'P'
import os, sys
o, v = sys.argv[1:]
open(o, "w").write("1")
os.setxattr(o, "user.meta.by", b"me")
os.setxattr(o, "user.meta.bin", b"\xff\0")
os.getxattr(o, "user.etag")
open(o, "w").write("2")
p = v + "/" + os.listdir(v)[0]
print(sorted(os.listxattr(p)), os.getxattr(p, "user.meta.bin"), os.getxattr(p, "user.etag").decode())
os.rename(p, o)
print(sorted(os.listxattr(o)), open(o).read())
P
is "attributes are kept and come back" "$(cat "$WORK/out")" "['user.etag', 'user.meta.bin', 'user.meta.by'] b'\\xff\\x00' c4ca4238a0b923820dcc509a6f75849b
['user.etag', 'user.meta.bin', 'user.meta.by'] 1"

put one "$O/own"; chown 77 "$O/own"; chmod 640 "$O/own"; touch -d '2001-02-03 UTC' "$O/own"
python3 -c 'import os, sys; os.setxattr(sys.argv[1], "user.meta.k", b"old")' "$O/own"
put two "$O/own"; chown 5 "$O/own"; chmod 600 "$O/own"; touch -d '2020-02-02 UTC' "$O/own"
python3 -c 'import os, sys; os.setxattr(sys.argv[1], "user.meta.k", b"new")' "$O/own"
is "what is set after a write is the new one's, not the old one's" "$(TZ=UTC stat -c '%u %a %y' "$V"/own/*; python3 -c 'import os, sys; print(os.getxattr(sys.argv[1], "user.meta.k"))' "$V"/own/*)" \
	"77 640 2001-02-03 00:00:00.000000000 +0000
b'old'"

# ---- brought back
put good "$O/doc"; put bad "$O/doc"
cp "$V"/doc/* "$O/doc"
is "cp brings one back" "$(cat "$O/doc")" good
is "... and what it replaced is kept" "$(cat "$V"/doc/* | sort | tr '\n' ' ')" "bad good "
old=$(grep -l bad "$V"/doc/*)
mv "$old" "$O/doc"
is "mv brings one back, and it is a version no more" "$(cat "$O/doc"; cat "$V"/doc/* | sort | tr '\n' ' ')" $'bad\ngood good '
rm "$O/doc"; mv "$(grep -l bad "$V"/doc/*Z)" "$O/again"
is "... what was removed too, under any name" "$(cat "$O/again")" bad
fails "RENAME_NOREPLACE finds what is there" python3 -c '
import ctypes, sys
l = ctypes.CDLL(None, use_errno=True)
if l.renameat2(-100, sys.argv[1].encode(), -100, sys.argv[2].encode(), 1): sys.exit(1)' "$(ls "$V"/doc/*Z | head -n 1)" "$O/again"
refused "a marker has nothing to bring back" "EPERM *was removed then*" mv "$(ls "$V"/doc/*.removed)" "$O/back"
works "to another container it is copied" mv "$(ls "$V"/fast/* | head -n 1)" "$CLOUD/tenants/acme/containers/other/objects/one"
is "... whole" "$(cat "$CLOUD/tenants/acme/containers/other/objects/one") $(count fast)" "v1 98"
head -c 5000000 /dev/urandom > "$WORK/big"
cp "$WORK/big" "$O/big"; put small "$O/big"
works "a large one is read back" cmp "$WORK/big" "$V"/big/*
before=$(cat "$C/stored")
cp --reflink=auto "$V"/big/* "$O/copy"
works "... and a copy shares its bytes" test "$(cat "$C/stored")" -lt $((before + 100000))
works "... and is it" cmp "$WORK/big" "$O/copy"

# ---- what is refused
one=$(ls "$V"/log/* | head -n 1)
for what in "cp /dev/null $one" "touch $one" "chmod 600 $one" "mkdir $V/new" "ln -s x $V/new" "mv $O/log $V/log2" "mv $one $V/other" "python3 -c import\ os,sys;os.truncate(sys.argv[1],1) $one"; do
	refused "refused: ${what%% /*}" "EPERM *old versions come from*" eval "$what"
done
refused "directories of them are not moved" "EPERM *each is moved*" mv "$V/photos" "$O/photos2"
refused "and not removed while there are any" "ENOTEMPTY *" rmdir "$V/log"
fails "what is not there is not found" cat "$V/log/2026-01-01T00:00:00.000000000Z"
fails "... nor what is no time" cat "$V/log/2026-13-01T00:00:00.000000000Z"
refused "the container stays while it has some" "ENOTEMPTY *" sh -c "rm -r '$O'/*; rmdir '$C'"

# ---- removed
exec 5< "$V/log/$(ls "$V/log" | tail -n 2 | head -n 1)"
works "rm -r removes them" rm -r "$V/log"
fails "... and their directory" ls -d "$V/log"
is "who reads one reads on" "$(sleep 0.5; cat <&5 | wc -l)" 30
exec 5<&-
for i in $(seq 1500); do put 1 "$O/many$i"; done
for i in $(seq 1500); do put 2 "$O/many$i"; done
is "many names are listed once each" "$(ls "$V" | grep -c many) $(ls -f "$V" | sort | uniq -d | wc -l)" "1500 0"
works "... and removed" sh -c "rm -r '$V'/*"
is "nothing is left" "$(find "$V" -mindepth 1 | wc -l)" 0

# ---- over a restart, and from before versions could be seen
put a "$O/k"; put b "$O/k"
cloud_down
cloud_up
is "they are there after a restart" "$(cat "$V"/k/*)" a
rm -r "$O"/*; rm -r "$V"/*
works "an empty container goes" rmdir "$C"
cloud_down
works "fsck finds nothing" "$CIRRUSFS" fsck --data "$STORE"
finish
