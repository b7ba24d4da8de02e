#!/bin/bash
# A container's objects/ is a directory of ordinary files: what programs do with files works, and what Swift cannot say is refused with a sentence.
. "$(dirname "$0")/lib.sh"
export LC_ALL=C.UTF-8
cloud_up
mkdir "$CLOUD/tenants/acme" "$CLOUD/tenants/acme/containers/site" "$CLOUD/tenants/acme/containers/other"
T=$CLOUD/tenants/acme C=$CLOUD/tenants/acme/containers/site O=$CLOUD/tenants/acme/containers/site/objects
cd "$O" || exit 99
head -c 3000000 /dev/urandom > "$WORK/big"

# ---- files
put 1000 "$C/quota-bytes"
head -c 700 /dev/urandom > full; sync full
works "a file that fills its quota is written anew" sh -c 'head -c 700 /dev/urandom > full && head -c 900 /dev/urandom > full'
is "... and counts once" "$(sync full; cat "$C/bytes")" 900
fails "... and no more than it may" sh -c 'head -c 1001 /dev/urandom > full'
rm full; put -1 "$C/quota-bytes"
is "a new container is empty" "$(ls -A)" ""
put hello a
is "a file is read back" "$(cat a)" "hello"
put more a; echo again >> a
is "appending appends" "$(cat a)" $'more\nagain'
is "its size is exact" "$(stat -c %s a)" 11
cp "$WORK/big" big
works "a large file comes back whole" cmp "$WORK/big" big
cp "$WORK/big" "$WORK/model"
for f in big "$WORK/model"; do
	printf XYZ | dd of="$f" bs=1 seek=1234567 conv=notrunc status=none
	dd if=/dev/zero of="$f" bs=100000 count=1 seek=20 conv=notrunc status=none
	truncate -s 2900001 "$f"
done
works "bytes written in the middle, and a shorter end" cmp "$WORK/model" big
truncate -s 3000000 big "$WORK/model"
works "what a longer end adds is zeros" cmp "$WORK/model" big
# one that is stored and small, and grows: what comes between is zeros
put hi grown; put hi far; put hi cut
until_true 10 sh -c '[ "$(stat -c %b grown)" -gt 0 ]'; sleep 0.3
truncate -s 100000 grown; printf x | dd of=far bs=1 seek=50000 conv=notrunc status=none; truncate -s 1 cut; truncate -s 5000 cut
is "a small one made longer ends in zeros" "$(head -c 3 grown) $(tail -c +4 grown | tr -d '\0' | wc -c) $(stat -c %s grown)" "hi 0 100000"
is "... and so where it is written beyond its end" "$(head -c 3 far) $(tail -c +4 far | tr -d '\0') $(stat -c %s far)" "hi x 50001"
is "... and where it was cut first" "$(tr -d '\0' < cut) $(stat -c %s cut)" "h 5000"
sync grown far cut
is "... and once they are stored" "$(cat grown far cut | tr -d '\0')" $'hi\nhi\nxh'
rm grown far cut
put one x; put two y; mv y x
is "renaming over a file replaces it" "$(cat x) $(ls)" $'two a\nbig\nx'
is "dot files, README and ctl are ordinary names here" "$(touch .hidden README ctl; ls -A | tr '\n' ' ')" ".hidden README a big ctl x "
rm .hidden README ctl
long=$(printf 'n%.0s' $(seq 255))
works "a name of 255 bytes" touch "$long"
rm -f "$long"
refused "a name of 256 bytes is too long" "ENAMETOOLONG *256 bytes*" touch "${long}n"
ill=$(printf 'bad\377name')
refused "a name that is no UTF-8" "EILSEQ *UTF-8*" touch "$ill"
refused "... nor may a directory have it" "EILSEQ *" mkdir "$ill"
refused "... nor may a file get it" "EILSEQ *" mv x "$ill"
works "names in any script" sh -c 'echo 1 > "фото 日本 *?.jpg" && cat "фото 日本 *?.jpg"'
rm -f ./фото*
refused "no hard links" "EPERM tenants/acme/containers/site/objects/b: *hard links*" ln a b
refused "no pipes" "EPERM tenants/acme/containers/site/objects/p: *pipes*" mkfifo p
works "mknod of a regular file" python3 -c 'import os, stat; os.mknod("made", stat.S_IFREG | 0o640)'
is "... has its mode" "$(stat -c '%a %s' made)" "640 0"
works "chmod, chown and utimens are kept" sh -c 'chmod 600 made && chown 12:34 made && touch -d "2001-02-03 04:05:06.789 UTC" made'
is "... as they were given" "$(TZ=UTC stat -c '%a %u %g %y' made)" "600 12 34 2001-02-03 04:05:06.789000000 +0000"
fails "what nobody may execute is not executable" test -x made
works "... chmod +x makes it so" sh -c 'chmod +x made && test -x made && test -x . && test -r made && test -w made'
fails "... nor is a control file" test -x "$C/ctl"
rm made
python3 - > "$WORK/open" <<'P'
import os
f = open("gone", "w+b")
f.write(b"first"); f.flush()
os.unlink("gone")
f.write(b" second"); f.flush(); f.seek(0)
print(f.read(), os.path.exists("gone"), os.fstat(f.fileno()).st_size)
P
is "a file that is removed while open goes on for who has it" "$(cat "$WORK/open")" "b'first second' False 12"
python3 - > "$WORK/share" <<'P'
import os, mmap
a = os.open("shared", os.O_RDWR | os.O_CREAT); os.write(a, b"A" * 10000)
b = os.open("shared", os.O_RDONLY); w = os.open("shared", os.O_WRONLY)
print(os.pread(b, 4, 5000))
os.pwrite(w, b"BBBB", 5000); print(os.pread(b, 4, 5000))
m = mmap.mmap(a, 10000); m[5000:5004] = b"CCCC"; m.flush(); print(os.pread(b, 4, 5000))
os.ftruncate(a, 5002); print(os.pread(b, 10, 5000), os.fstat(b).st_size)
x = os.open("shared", os.O_WRONLY | os.O_APPEND); y = os.open("shared", os.O_WRONLY | os.O_APPEND)
os.write(x, b"1"); os.write(y, b"2"); os.write(x, b"3"); print(os.pread(b, 10, 5000))
P
is "all who have it open see what is written" "$(cat "$WORK/share")" $'b\'AAAA\'\nb\'BBBB\'\nb\'CCCC\'\nb\'CC\' 5002\nb\'CC123\''
rm shared
python3 - > "$WORK/copy" <<'P'
import os
a = os.open("big", os.O_RDONLY); b = os.open("copied", os.O_RDWR | os.O_CREAT)
n = 0
while (k := os.copy_file_range(a, b, 3000000 - n)): n += k
print(n)
P
is "copy_file_range copies" "$(cat "$WORK/copy")" 3000000
works "... the same bytes" cmp big copied
works "a copy into another container" cp copied "$T/containers/other/objects/"
works "... is the same" cmp big "$T/containers/other/objects/copied"
works "mv into another container" mv copied "$T/containers/other/objects/moved"
works "... is the same" cmp big "$T/containers/other/objects/moved"
fails "... and is gone here" test -e copied
refused "a control file is not moved in" "EPERM *" python3 -c 'import os; os.rename("../description", "description")'
refused "nor an object out" "EPERM *objects stay*" python3 -c 'import os; os.rename("x", "../x")'
works "rename2 without replacing" python3 - <<'P'
import ctypes, os
def rename(a, b, flags):
    if ctypes.CDLL(None, use_errno=True).renameat2(-100, a, -100, b, flags) < 0: raise OSError(ctypes.get_errno(), "renameat2")
try: rename(b"a", b"x", 1); raise SystemExit("replaced")
except FileExistsError: pass
P
is "what was there is there" "$(cat x)" two
works "fallocate extends" fallocate -l 3100000 big
is "... the size" "$(stat -c %s big)" 3100000
works "fsync and syncing a directory" sh -c 'sync x && sync .'

# ---- directories and links
works "directories" mkdir -p d/e/f
refused "one that is not empty is not removed" "ENOTEMPTY *" rmdir d/e
put deep d/e/f/g
works "a directory is renamed with all that is in it" mv d/e d/h
is "... which is found there" "$(cat d/h/f/g)" deep
is "a path in the sentence is the present one" "$(touch "d/h/$ill" 2> /dev/null; head -n 1 "$CLOUD/last-error" | cut -d/ -f1-7)" "EILSEQ tenants/acme/containers/site/objects/d/h"
ln -s ../x d/link
is "a symbolic link is kept as it is" "$(readlink d/link) $(cat d/link)" "../x two"
is "getcwd below objects" "$(cd d/h/f && /bin/pwd)" "$O/d/h/f"
works "rm -r is ordinary below objects/" rm -r d
fails "... and removes" test -e d

# ---- programs
mkdir "$WORK/tree" && (cd "$TOP" && cp -r docs tests/mount "$WORK/tree/") && ln -s docs/tree.md "$WORK/tree/link" && chmod 750 "$WORK/tree/docs"
works "cp -r" cp -r "$WORK/tree" cp
works "... the same" diff -r "$WORK/tree" cp
works "cp -a keeps times and modes" cp -a "$WORK/tree" cpa
is "... all of them" "$(cd cpa && find . -printf '%p %m %Ts %s %l\n' | grep -v '^\. ' | sed 's/^\(.*\) 4096 $/\1 0 /' | sort | awk '{print $1, $2, $3}')" \
	"$(cd "$WORK/tree" && find . -printf '%p %m %Ts %s %l\n' | grep -v '^\. ' | sort | awk '{print $1, $2, $3}')"
works "tar writes and reads" sh -c 'mkdir tar && tar -C "$1" -cf - . | tar -C tar -xf - && tar -cf "$2" -C tar . && tar -df "$2" -C "$1"' - "$WORK/tree" "$WORK/tar.tar"
works "rsync" rsync -a "$WORK/tree/" rsync/
is "... twice does nothing" "$(rsync -ai "$WORK/tree/" rsync/)" ""
rm "$WORK/tree/link"
works "rsync --delete into a container" rsync -a --delete "$WORK/tree/" rsync/
works "... the same" diff -r "$WORK/tree" rsync
printf 'ihello\033:wq\n' > "$WORK/keys"
works "vim writes" timeout 20 vim -u NONE -N -es -c 'normal ohello' -c 'wq' a
is "... a line" "$(tail -n 1 a)" hello
works "sed -i" sed -i s/hello/world/ a
is "... edits" "$(tail -n 1 a)" world
works "git keeps a repository here" sh -c 'command -v git > /dev/null || exit 0; export HOME="$1"; git init -q repo && cd repo && echo 1 > f && git add f && git -c user.name=n -c user.email=e commit -qm c && git fsck 2>&1 && git status --short' - "$WORK"
works "sqlite keeps a database here" sh -c 'sqlite3 db "PRAGMA journal_mode=DELETE; CREATE TABLE t (x); INSERT INTO t SELECT 1; PRAGMA integrity_check"'
works "find, du and df go through it" sh -c 'find . > /dev/null && du -s . && df .'
seq 3000 | sed 's/^/f/' > "$WORK/names"
mkdir many && (cd many && xargs touch < "$WORK/names")
is "thousands of names are listed once each" "$(ls many | sort)" "$(sort "$WORK/names")"
is "... with their attributes" "$(ls -l many | grep -c '^-rw')" 3000
works "... and removed while they are listed" rm -r many cp cpa tar rsync

# ---- extended attributes
xattr() { python3 -c 'import os, sys; a = sys.argv
try: print({"get": lambda: os.getxattr(a[2], a[3]).decode(), "set": lambda: os.setxattr(a[2], a[3], a[4].encode()), "list": lambda: sorted(x for x in os.listxattr(a[2]) if x != "user.etag"), "rm": lambda: os.removexattr(a[2], a[3])}[a[1]]())
except OSError as e: print(os.strerror(e.errno)); sys.exit(1)' "$@"; }
works "metadata is set" xattr set a user.meta.colour blue
is "... read" "$(xattr get a user.meta.colour) $(xattr list a)" "blue ['user.meta.colour']"
works "... and removed" xattr rm a user.meta.colour
is "... really" "$(xattr get a user.meta.colour) $(xattr list a)" "No data available []"
is "etag is the MD5" "$(xattr get big user.etag)" "$(md5sum < big | cut -d' ' -f1)"
put new x
is "... of the present bytes" "$(xattr get x user.etag)" "$(echo new | md5sum | cut -d' ' -f1)"
until_true 5 python3 -c 'import os; os.listxattr("x").index("user.etag")'	# until it is known, a copier's may be it
refused "... and is nobody's to set" "EPERM *MD5*" xattr set x user.etag 0123456789abcdef0123456789abcdef
is "other name spaces have none" "$(xattr get x security.selinux; xattr get x system.posix_acl_access; xattr set x trusted.x y)" \
	$'No data available\nOperation not supported\nOperation not supported'
is "control files have none" "$(xattr get ../ctl user.x; xattr list ../ctl; xattr set ../ctl user.x y)" $'No data available\n[]\nOperation not supported'

# ---- the container
rm -rf ./*
put 12345 five; mkdir d; put 1 d/one
is "bytes and count" "$(cat ../bytes ../count)" $'8\n2'
is "its collection's list shows them" "$(cut -f1,4,5 ../../list | tr '\n\t' ' ,')" "name,count,bytes site,2,8 other,2,6000000 "
is "the tenant's usage" "$(cat "$T/usage/objects" "$T/usage/object-bytes")" $'4\n6000008'
md5() { md5sum < "$1" | cut -d' ' -f1; }
xattr get five user.etag > /dev/null; xattr get d/one user.etag > /dev/null; xattr set five user.mime_type text/plain > /dev/null
is "listing" "$(cut -f1-4 ../listing | tr '\t' ' ')" $'name bytes hash content_type\nd/one 2 '"$(md5 d/one)"$' application/octet-stream\nfive 6 '"$(md5 five) text/plain"
is "listing.json is Swift's" "$(python3 -c 'import json, sys; print(*[(o["name"], o["bytes"], o["hash"], o["content_type"]) for o in json.load(sys.stdin)], sep="\n")' < ../listing.json)" \
	"('d/one', 2, '$(md5 d/one)', 'application/octet-stream')"$'\n'"('five', 6, '$(md5 five)', 'text/plain')"
put 3 ../quota-count
works "as many as the quota says" touch three
refused "one object more is refused" "EDQUOT *" touch four
put -1 ../quota-count
put 10 ../quota-bytes
refused "bytes too" "EDQUOT *" sh -c 'head -c 20 /dev/zero > three'
is "the quota is the room there is" "$(df --output=size -B1 . | tail -n 1 | tr -d ' ')" "0"
put unlimited ../quota-bytes
works "without one it goes" sh -c 'head -c 20 /dev/zero > three'
put 5 "$T/quota/objects"
refused "the tenant's quota counts all its containers" "EDQUOT *" touch four
put -1 "$T/quota/objects"
refused "a spec that is refused changes no quota" "*" sh -c 'printf "quota-count=1\nbogus=1\n" | cat > ../spec'
works "... really" touch four
put ' .r:* , .rlistings,proj:user' ../read-acl
is "access lists are kept as Swift keeps them" "$(cat ../read-acl)" ".r:*,.rlistings,proj:user"
refused "referrers do not write" "EINVAL *referrers are for reading*" put .r:* ../write-acl
refused "unknown designators" "EINVAL *no designator*" put .x:y ../read-acl
is "spec makes another like it" "$(put "create twin $(tr '\n' ' ' < ../spec)" ../../ctl; cat ../../twin/read-acl)" ".r:*,.rlistings,proj:user"

# ---- removing
refused "a container with objects is not removed" "ENOTEMPTY *container 'site' has 4 objects*" rmdir "$C"
fails "rm -rf of a container is refused" rm -rf "$C"
is "... and deletes nothing" "$(ls "$O" | tr '\n' ' ')" "d five four three "
fails "nor does find -delete" find "$C" -delete
is "... delete" "$(ls "$O" | tr '\n' ' ')" "d five four three "
fails "nor rsync --delete over the tenant" sh -c 'mkdir "$1" && rsync -r --delete "$1/" "$2/"' - "$WORK/nothing" "$T"
is "... delete" "$(find "$O" "$T/containers/other/objects" -type f | wc -l)" 6
works "another process removes what it likes" sh -c 'rm -r d five && find . -name "f*" -delete'
id=$(cat "$C/id")
put by-name e
is "by-id leads to the same bytes" "$(cat "$T/containers/by-id/$id/objects/e")" by-name
put by-id "$T/containers/by-id/$id/objects/e"
is "... and what is written there is seen by name" "$(cat e)" by-id
rm "$T/containers/by-id/$id/objects/e"; mkdir "$T/containers/by-id/$id/objects/new"
is "... names too" "$(ls; cat e 2>&1)" $'new\nthree\ncat: e: No such file or directory'
rm -r new three
cd "$WORK" || exit 99
works "an empty container goes" rmdir "$C"
until_true 10 test ! -e "$T/containers/by-id/$id"
fails "... altogether" test -e "$T/containers/by-id/$id"
rm "$T"/containers/other/objects/*
put kept "$T/containers/other/objects/k"
put 'purge confirm=acme' "$T/ctl"
cat "$T/wait" > /dev/null
is "a purge takes objects along" "$(ls "$T/containers" | grep -c -e other -e twin) $(cat "$T/usage/objects")" "0 0"
is "health" "$(cat "$CLOUD/health")" ok
finish
