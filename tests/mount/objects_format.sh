#!/bin/bash
# What containers hold is on disk as docs/objects.md says: a reader that has none of our code finds everything, and finds what is wrong.
. "$(dirname "$0")/lib.sh"
export LC_ALL=C.UTF-8
cloud_up
T=$CLOUD/tenants/t
mkdir "$T" "$T/containers/plain" "$T/containers/old" || exit 99
put true "$T/containers/old/versioning"
P=$T/containers/plain/objects O=$T/containers/old/objects
audit() { python3 "$TOP/tests/mount/audit_objects.py" "$STORE"; }
sql() { sqlite3 "$STORE/objects/index.db" "$1"; }

# ---- contents of all kinds
for size in 0 1 100 4095 4096 16384 65536 65537 300000 12000000; do head -c $size /dev/urandom > "$P/random-$size"; done
seq 300000 > "$P/text"
head -c 1000000 /dev/zero > "$P/zeros"
truncate -s 5000000 "$P/sparse"
printf middle | dd of="$P/sparse" bs=1 seek=2000000 conv=notrunc status=none
cp --reflink=auto "$P/random-12000000" "$P/copy"
printf changed | dd of="$P/copy" bs=1 seek=6000000 conv=notrunc status=none
fallocate -p -o 1000000 -l 500000 "$P/copy"
cp "$P/text" "$O/text"
for i in $(seq 200); do echo "line $i" >> "$P/log"; done
sync "$P/log" "$P/random-1"
mkdir -p "$P/a/b/фото" && ln -s ../random-1 "$P/a/link" && mv "$P/random-100" "$P/a/b/фото/moved"
python3 -c 'import os, sys; os.setxattr(sys.argv[1], "user.meta.by", b"me"); os.getxattr(sys.argv[1], "user.etag")' "$P/text"
for i in 1 2 3; do head -c $((i * 100000)) /dev/urandom > "$O/often"; sync "$O/often"; done
sync "$O/text"
echo short > "$O/new" && mv "$O/new" "$O/text" && rm "$O/often"
rm "$P/random-65536" "$P/random-300000"
works "it is unmounted" cloud_down
is "at once: what is on disk is what the document says" "$(audit)" ""
is "... with nodes of two levels" "$(sql 'SELECT count(DISTINCT level) FROM node')" 2
is "... and some of old contents" "$(sql 'SELECT count(*) > 3, sum(marker) FROM version')" "1|1"

# ---- after what nobody waits for: small chunks are packed, packs that are half dead are emptied
"$CIRRUSFS" mount "$STORE" "$CLOUD" || exit 99
rm "$P/random-12000000" "$P/copy"
head -c 3000000 /dev/urandom > "$P/later"
# shellcheck disable=SC2016  # looked at again and again
works "small chunks come into packs" until_true 60 eval '[ "$(sqlite3 -readonly "$STORE/objects/index.db" "SELECT count(*) FROM fresh")" = 0 ]'
# shellcheck disable=SC2016
works "what is dead goes" until_true 60 eval '[ "$(sqlite3 -readonly "$STORE/objects/index.db" "SELECT count(*) FROM pack WHERE live * 2 < size")" = 0 ]'
works "it is unmounted" cloud_down
is "after a while: what is on disk is what the document says" "$(audit)" ""
works "fsck --data says so, too" "$CIRRUSFS" fsck --data "$STORE"

# ---- each fault is found, and nothing else is said
cp -a "$STORE/objects" "$WORK/kept"
damaged() { # NAME SQL PATTERN
	sql "$2"
	like "$1" "$(audit)" "$3"
	fails "... and the status says so" audit
	rm -rf "$STORE/objects"
	cp -a "$WORK/kept" "$STORE/objects"
}
damaged "a wrong count of references" "UPDATE chunk SET refs = refs + 1 WHERE id = (SELECT min(id) FROM chunk WHERE refs > 0)" "chunk * has refs * refer to it"
damaged "a record that is elsewhere" "UPDATE chunk SET at = at + 8 WHERE id = (SELECT max(id) FROM chunk WHERE pack > 0)" "chunk *: there is no sound head at *"
damaged "a wrong hash" "UPDATE chunk SET h2 = h2 + 1 WHERE id = (SELECT max(id) FROM chunk WHERE pack > 0)" "chunk *: the head at * says *"
damaged "a container that counts wrongly" "UPDATE space SET bytes = bytes + 1 WHERE id = (SELECT min(id) FROM space)" "space * says * and has *"
damaged "a node that is cut off" "UPDATE node SET data = substr(data, 1, length(data) - 1) WHERE id = (SELECT min(id) FROM node WHERE level = 0)" "*node *: its bytes end in the middle*"
damaged "an object in no directory" "UPDATE entry SET parent = 1 WHERE name = 'moved'" "entry * 'moved': its directories do not lead to the top of its space"
is "with all back in its place all is well" "$(audit)" ""
finish
