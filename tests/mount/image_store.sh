# Images' data in the object store: what images share is stored once, base files are a cache of it, kill -9 at any moment, damage, a full disk, and
# stores of an older cirrusfs.  Guests are not waited for.
# timeout 900
. "$(dirname "$0")/lib.sh"
cloud_up 'check-interval = 1' 'image-cache-keep = 0'
sim_up
T=$CLOUD/tenants/acme I=$CLOUD/tenants/acme/images
chunks() { sed -n 's/^cirrusfs_object_chunk_bytes \([0-9.e+]*\)$/\1/p' "$CLOUD/metrics" | xargs printf '%.0f\n'; }
grown() { echo $(($(chunks) - before)); }
between() { report "$(($2 >= $3 && $2 <= $4 ? 0 : 1))" "$1" "$2 is not in $3..$4"; }
new() { mkdir "$I/$1" && cp "$2" "$I/$1/data" && timeout 120 cat "$I/$1/wait"; }
sql() { sqlite3 "$STORE/state.db" "$1"; }
objects() { sqlite3 "$STORE/objects/index.db" "$1"; }
row() { sql "SELECT id FROM object WHERE name = '$1' AND kind = 5 AND deleted = 0"; }
fsck() { "$CIRRUSFS" fsck "$@" "$STORE" 2>&1; echo "-> $?"; }
no_bases() { ! ls "$STORE"/images/*.img; }
clean="$STORE: clean
-> 0"
random() { head -c "$1" /dev/urandom; }
random 30M > "$WORK/a"
{ head -c 12M "$WORK/a"; random 3M; tail -c 15M "$WORK/a"; } > "$WORK/b"
{ head -c 5M "$WORK/a"; random 1000; tail -c 25M "$WORK/a"; } > "$WORK/shifted"

# ---- sharing
before=$(chunks)
is "an image" "$(new a "$WORK/a")" active
between "takes what it has" "$(grown)" 31000000 32000000
before=$(chunks)
is "another version of it" "$(new b "$WORK/b")" active
between "takes the tenth that differs" "$(grown)" 3000000 4500000
before=$(chunks)
is "one that is shifted in the middle" "$(new shifted "$WORK/shifted")" active
between "takes next to nothing" "$(grown)" 1000 1000000
before=$(chunks)
is "a copy through the tree" "$(new copy "$I/a/data")" active
between "takes nothing, or a chunk that was cut elsewhere" "$(grown)" 0 300000
is "is that image" "$(cat "$I/copy/checksum")" "$(md5sum < "$WORK/a" | cut -d' ' -f1)"
works "base files nobody stands on go" until_true 60 no_bases
for i in a b shifted; do works "$i reads as it was written" cmp "$WORK/$i" "$I/$i/data"; done
works "so do many at once" bash -c 'for i in a b shifted a b shifted a b shifted; do cmp "$0/$i" "$1/$i/data" & jobs="$jobs $!"; done; for job in $jobs; do wait $job || exit; done' "$WORK" "$I"
is "from the middle over its end" "$(dd if="$I/b/data" bs=1000 skip=31450 2> /dev/null | md5sum)" "$(dd if="$WORK/b" bs=1000 skip=31450 2> /dev/null | md5sum)"
truncate -s 1G "$WORK/holes" && printf x | dd of="$WORK/holes" bs=1 seek=500000000 conv=notrunc status=none
before=$(chunks)
is "an image of holes" "$(new holes "$WORK/holes")" active
between "takes nothing" "$(grown)" 1 300000
cp --sparse=never "$I/holes/data" /dev/null &
is "its holes are told" "$(timeout 60 python3 -c 'import os, sys; f = os.open(sys.argv[1], os.O_RDONLY); d = os.lseek(f, 0, os.SEEK_DATA); print(d <= 500000000 <= os.lseek(f, d, os.SEEK_HOLE), d > 400000000)' "$I/holes/data")" "True True"
wait
is "tenants' objects are none of it" "$(cat "$T/usage/objects" "$T/usage/object-bytes" "$T/logical" | xargs; ls "$T/containers" | grep -vcE '^(ctl|json|list|README|spec|wait|error)$')" "0 0 0
0"
exec 7< "$I/copy/data"
works "one goes while it is read" rmdir "$I/copy"
timeout 60 cat "$I/wait" > /dev/null
is "who has it open reads on" "$(python3 -c 'import os; at = 0
while b := os.pread(7, 1 << 20, at): os.write(1, b); at += len(b)' | md5sum)" "$(md5sum < "$WORK/a")"
exec 7<&-
rmdir "$I/holes" "$I/shifted"
timeout 60 cat "$I/wait" > /dev/null
is "what is removed is not in the object store any more" "$(objects 'SELECT count(*) FROM entry WHERE space = -1 AND parent > 0')" 3
cd / && cloud_down
is "all is well" "$(fsck --data)" "$clean"
is "nobody was warned of objects without a container" "$(grep -c 'no container' "$STORE/log")" 0

# ---- kill -9 while it is taken
random 150M > "$WORK/big"
storing() { grep -q 'its bytes to be stored' "$I/k/task"; }
for after in 0 0.2 0.6 1; do
	cloud_up
	mkdir "$I/k" && cp "$WORK/big" "$I/k/data"
	until_true 60 eval 'storing || [ "$(cat "$I/k/status")" = active ]'
	sleep $after
	cloud_kill
	is "killed $after s after it began to be stored: fsck" "$(fsck)" "$clean"
	cloud_up
	is "... it becomes active" "$(timeout 120 cat "$I/k/wait")" active
	works "... and is what came" cmp "$WORK/big" "$I/k/data"
	rmdir "$I/k"
	timeout 60 cat "$I/wait" > /dev/null
	is "... nothing is left of it" "$(objects 'SELECT count(*) FROM entry WHERE space = -1 AND parent > 0')" 3
	cloud_down
done
cloud_up
mkdir "$I/k" && cp "$WORK/big" "$I/k/data"
until_true 60 eval 'storing || [ "$(cat "$I/k/status")" = active ]'
works "unmounted meanwhile: it does not wait for it" timeout 15 umount "$CLOUD"
cloud_gone
cloud_up
is "... it goes on with the next mount" "$(timeout 120 cat "$I/k/wait")" active
works "... and is what came" cmp "$WORK/big" "$I/k/data"

# ---- base files
k=$STORE/images/$(row k).img
writing() { for _ in $(seq 200000); do [ ! -e "$k.part" ] || return 0; done; return 1; }
disk() { ls "$STORE"/servers/*/disk.qcow2 2> /dev/null | wc -l; }
gone() { timeout 60 cat "$T/servers/wait" > /dev/null 2>&1; is "no disk is left" "$(disk)" 0; }
if command -v qemu-img > /dev/null && command -v qemu-system-x86_64 > /dev/null; then
	until_true 60 no_bases
	put 'create s flavor=m1.tiny image=k network=lan host=local' "$T/servers/ctl"
	works "a server's base file is written" writing
	cloud_kill
	is "killed meanwhile: there is none" "$(ls "$k" 2> /dev/null)" ""
	is "... fsck" "$(fsck)" "$clean"
	cloud_up
	works "... its disk is made after all" until_true 90 eval '[ "$(disk)" = 1 ]'
	works "... on what came" cmp "$WORK/big" "$k"
	is "... readable by guests and nobody else" "$(stat -c '%a %G' "$k")" "440 $(id -gn libvirt-qemu)"
	is "... nothing is left of the first try" "$(ls "$k.part" 2> /dev/null)" ""
	sleep 3
	works "it stays while a disk stands on it" cmp "$WORK/big" "$k"
	rm "$k"
	works "and is made again when it is taken away" until_true 60 cmp "$WORK/big" "$k"
	rmdir "$T/servers/s"
	gone
	works "then it goes" until_true 60 no_bases
	for i in 1 2 3; do put "create s$i flavor=m1.tiny image=k network=lan host=local" "$T/servers/ctl"; done
	works "three at once get their disks" until_true 120 eval '[ "$(disk)" = 3 ]'
	for i in 1 2 3; do rmdir "$T/servers/s$i"; done
	gone
	until_true 60 no_bases
	put 'create s flavor=m1.tiny image=k network=lan host=local' "$T/servers/ctl"
	writing
	rmdir "$T/servers/s"
	works "a server that is deleted meanwhile goes at once" timeout 30 cat "$T/servers/wait"
	works "and so does what was written for it" until_true 30 eval '! ls "$k"*'
else
	report 0 "base files # skip no qemu"
fi
rmdir "$I/k"
timeout 60 cat "$I/wait" > /dev/null
cd / && cloud_down
is "all is well" "$(fsck --data)" "$clean"

# ---- damage
flip() { # ROW: a byte in the middle of a chunk only that image has; prints the pack
	python3 - "$STORE/objects" "$1" <<-'END'
		import sqlite3, sys
		dir, image = sys.argv[1:]
		db = sqlite3.connect(f'{dir}/index.db')
		node = lambda id: db.execute('SELECT level, data FROM node WHERE id = ?', (-id,)).fetchone()
		def numbers(b):
		    n = s = 0
		    for x in b:
		        n |= (x & 127) << s
		        s += 7
		        if not x & 128:
		            yield n
		            n = s = 0
		def chunks(root):
		    if root >= 0:
		        return {root}
		    level, data = node(root)
		    v = list(numbers(data))
		    return set(v[::3]) if level == 0 else set().union(*(chunks(-c) for c in v[::3]))
		roots = dict(db.execute('SELECT name, root FROM entry WHERE space = -1 AND parent > 0'))
		own = chunks(roots[image]) - set().union(*(chunks(r) for n, r in roots.items() if n != image)) - {0}
		pack, at, stored = db.execute(f'SELECT pack, at, stored FROM chunk WHERE pack > 0 AND id IN ({",".join(map(str, own))}) ORDER BY stored DESC').fetchone()
		with open(f'{dir}/packs/{pack:08}.pack', 'r+b') as f:
		    f.seek(at + 56 + stored // 2)
		    x = f.read(1)[0]
		    f.seek(-1, 1)
		    f.write(bytes([x ^ 16]))
	END
}
b=$(row b)
works "a byte of an image is damaged on disk" flip "$b"
is "that is not seen from outside" "$(fsck)" "$clean"
like "fsck --data finds the chunk, and says whose it is" "$(fsck --data)" "*tenants/acme/images/b: bytes of it are lost
-> 1"
is "and of nobody else" "$(fsck --data | grep -c tenants/)" 1
cloud_up
refused "who reads it is told" "EBADMSG tenants/acme/images/b/data: the data of image 'b' is damaged: chunk * is damaged" cat "$I/b/data"
works "all others are as they were" cmp "$WORK/a" "$I/a/data"
put 'create s flavor=m1.tiny image=b network=lan host=local' "$T/servers/ctl"
timeout 60 cat "$T/servers/s/wait" > /dev/null 2>&1
like "no server stands on it" "$(cat "$T/servers/s/status" "$T/servers/s/error")" "ERROR
* EBADMSG *the base file of image 'b': chunk * is damaged"
rmdir "$T/servers/s"
timeout 60 cat "$T/servers/wait" > /dev/null
cd / && cloud_down
cp "$WORK/b" "$STORE/images/$b.img"
like "a base file that is whole mends it" "$(fsck --data --repair)" "*tenants/acme/images/b: bytes of it are lost: its data is taken from its base file
-> 1"
fsck --repair > /dev/null
is "then all is well" "$(fsck --data)" "$clean"
rm "$STORE/images/$b.img"
flip "$b"
like "without one it is taken from use" "$(fsck --data --repair)" "*tenants/acme/images/b: bytes of it are lost: deactivated: no new server may use it
-> 1"
cloud_up
is "it is deactivated" "$(cat "$I/b/status")" deactivated
is "the same bytes, brought again, mend it" "$(new b2 "$WORK/b"; cat "$I/b2/data" | md5sum)" "active
$(md5sum < "$WORK/b")"
put activate "$I/b/ctl"
works "both" cmp "$WORK/b" "$I/b/data"
cd / && cloud_down
fsck --data --repair > /dev/null
is "all is well" "$(fsck --data)" "$clean"

# ---- objects of no image, images of no object
cp "$STORE/state.db" "$WORK/state.db"
cloud_up
new later "$WORK/a" > /dev/null
later=$(row later)
cd / && cloud_down
cp "$STORE/state.db" "$WORK/state2.db" && cp "$WORK/state.db" "$STORE/state.db"
rm -f "$STORE/images/$later.img"
is "data of an image that an older state does not know" "$(fsck)" "objects: data of image $later: there is no such image
-> 1"
is "is kept elsewhere" "$(fsck --repair)" "objects: data of image $later: there is no such image: moved to lost+found
-> 1"
works "as it was" cmp "$WORK/a" "$STORE/lost+found/images-$later.data"
is "once" "$(fsck)" "$clean"
cp "$WORK/state2.db" "$STORE/state.db"
cloud_up
works "an image whose data is gone is a line of health" until_true 60 grep -q "^tenants/acme/images/later: its data is missing: it is not in the object store, and there is no" "$CLOUD/health"
refused "who reads it is told" "ENOENT tenants/acme/images/later/data: open the data of image 'later': *not in the object store" cat "$I/later/data"
rmdir "$I/later"
timeout 60 cat "$I/wait" > /dev/null
cd / && cloud_down

# ---- an older cirrusfs had the files only
sed -i 's/^image-cache-keep.*/image-cache-keep = 60/' "$STORE/config"
rm -r "$STORE/objects"
cp "$WORK/a" "$STORE/images/$(row a).img"
for i in b b2; do cp "$WORK/b" "$STORE/images/$(row $i).img"; done
cp "$WORK/tiny.raw" "$STORE/images/$(row tiny).img"
is "a store of an older cirrusfs is whole" "$(fsck --data)" "$clean"
cloud_up
works "its images are read at once" cmp "$WORK/a" "$I/a/data"
works "they are moved into the object store" until_true 60 eval '[ "$(objects "SELECT count(*) FROM entry WHERE space = -1 AND parent > 0 AND name NOT LIKE '"'%.part'"'")" = 4 ]'
between "and share what they have in common" "$(chunks)" 33000000 36000000
rm "$STORE"/images/*.img
for i in a b; do works "$i reads as it was written" cmp "$WORK/$i" "$I/$i/data"; done
cd / && cloud_down
is "all is well" "$(fsck --data)" "$clean"
is "also by what none of our code reads" "$(python3 "$TOP/tests/mount/audit_objects.py" "$STORE" 2>&1)" ""

# ---- no object store
cloud_up
is "an image with a base file" "$(new based "$WORK/tiny.raw")" active
cd / && cloud_down
cp -a "$STORE/objects" "$WORK/objects"
rm "$STORE"/objects/index.db* && random 100000 > "$STORE/objects/index.db"
cloud_up
works "while the object store cannot be opened, base files are read" cmp "$WORK/tiny.raw" "$I/based/data"
refused "what is only there is not" "EIO tenants/acme/images/a/data: *the object store is not open: *" cat "$I/a/data"
mkdir "$I/none" && cp "$WORK/tiny.raw" "$I/none/data"
timeout 60 cat "$I/none/wait" > /dev/null 2>&1
like "nothing is taken" "$(cat "$I/none/status" "$I/none/error")" "queued
* EIO *the object store is not open: *"
cd / && cloud_down
rm -r "$STORE/objects" && mv "$WORK/objects" "$STORE/objects"
cloud_up
is "once it is there again, it is" "$(cp "$WORK/tiny.raw" "$I/none/data"; timeout 60 cat "$I/none/wait")" active
cd / && cloud_down
is "all is well" "$(fsck --data)" "$clean"

# ---- a full disk
mkdir "$WORK/small"
mount -t tmpfs -o size=60m,mode=711 none "$WORK/small"
STORE=$WORK/small/store
cloud_up 'check-interval = 1' 'image-cache-keep = 0'
mkdir "$CLOUD/tenants/acme" "$I/full" && cp "$WORK/a" "$I/full/data"
timeout 120 cat "$I/full/wait" > /dev/null 2>&1
like "no room for its chunks beside what came: queued, and why" "$(cat "$I/full/status" "$I/full/error")" "queued
* ENOSPC *store the data: *"
is "what came is gone" "$(ls "$STORE/images")" ""
head -c 5M "$WORK/a" > "$WORK/little"
is "a smaller one is taken" "$(for _ in $(seq 50); do cp "$WORK/little" "$I/full/data" && timeout 60 cat "$I/full/wait" 2> /dev/null && break; sleep 0.5; done)" active
works "and reads as it was written" cmp "$WORK/little" "$I/full/data"
cd / && cloud_down
is "all is well" "$("$CIRRUSFS" fsck --data "$STORE")" "$STORE: clean"
umount "$WORK/small"
finish
