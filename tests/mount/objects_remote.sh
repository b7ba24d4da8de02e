#!/bin/bash
# Packs of objects in a place: a server of S3 and Swift (tests/objectd.py) that is slow, away, wrong; kill -9 while packs move; what fsck says and mends.
# ROUNDS=6 of kill -9, SEED= for the same again.
# timeout 1800
. "$(dirname "$0")/lib.sh"
export LC_ALL=C.UTF-8
ROUNDS=${ROUNDS:-6} SEED=${SEED:-$(date +%s)}
RANDOM=$SEED
export CIRRUSFS_PACK_MAX=1048576
mkdir "$WORK/bucket"
: > "$WORK/modes"
printf 'secret\n' > "$WORK/secret"
chmod 600 "$WORK/secret"
PORT=0
serve() {
	rm -f "$WORK/port"	# else the last one is read before it is emptied
	python3 "$TOP/tests/objectd.py" "$WORK/modes" "$WORK/log" "$WORK/bucket" "$PORT" > "$WORK/port" &
	SERVER=$!
	until_true 20 test -s "$WORK/port" || exit 99
	PORT=$(cat "$WORK/port")
}
serve_not() { kill "$SERVER"; wait "$SERVER" 2> /dev/null; }
serve
settings() { # KIND...: of objects' place in the config, others gone
	sed -i '/^objects-/d' "$STORE/config"
	case $1 in
	s3) set -- "place = s3" "url = http://127.0.0.1:$PORT" "bucket = packs" "prefix = ${2:-cloud1/}" "key = AK" "secret-file = $WORK/secret" "cache = 16M" ;;
	swift) set -- "place = swift" "url = http://127.0.0.1:$PORT/auth/v1.0" "bucket = packs" "prefix = swift/" "key = acme:me" "secret-file = $WORK/secret" "cache = 16M" ;;
	dir) set -- "url = $WORK/dir" ;;
	none) set -- ;;
	esac
	for line; do printf 'objects-%s\n' "$line" >> "$STORE/config"; done
}
up() { "$CIRRUSFS" mount "$STORE" "$CLOUD"; }
fsck() { "$CIRRUSFS" fsck "$@" "$STORE" > "$WORK/fsck" 2>&1 || { set -- $?; head -n 6 "$WORK/fsck"; return "$1"; }; }
there() { find "$WORK/bucket" -name "packs%2F${1:-cloud1}%2F*.pack" | wc -l; }
here() { find "$STORE/objects/packs" -maxdepth 1 -name '*.pack' | wc -l; }
metric() { sed -n "s/^cirrusfs_object_$1 //p" "$CLOUD/metrics"; }
moved() { until_true "${1:-60}" eval '[ "$(metric place_waiting_packs)" = 0 ]'; }
gets() { grep -c '^GET .*\.pack' "$WORK/log"; }
cold() { cloud_down; rm -rf "$STORE/objects/cache"; up; }
content() { local k; for k in $(seq "$1"); do head -c $((k * 150000 % 1100000 + 30000)) /dev/urandom > "$2-$k"; done; }
sums() { (cd "$O" && sha256sum -- * 2>&1); }
audit() { python3 "$TOP/tests/mount/audit_objects.py" "$STORE" "$WORK/bucket/packs%2F${1:-cloud1}%2F"; }
whole() { diff <(sums) "$WORK/sums"; }

# ---- settings
"$CIRRUSFS" init "$STORE" > /dev/null && printf 'virt-type = qemu\n' >> "$STORE/config"
said() { # NAME LINE PATTERN
	settings s3
	printf '%s\n' "$2" >> "$STORE/config"
	fails "settings: $1" up
	like "... says which" "$out" "$3"
}
said "no such kind" "objects-place = tape" "*line *objects-place is one of local s3 swift*"
said "no URL" "objects-url =" "*config*objects-url is not set*"
said "no bucket" "objects-bucket =" "*objects-bucket is not set*"
said "an URL of nothing" "objects-url = ftp://x" "*objects-url*ftp://x*"
said "a secret that is not there" "objects-secret-file = /nonexistent" "*/nonexistent*objects-secret-file*"
said "a cache too small" "objects-cache = 1M" "*line *objects-cache: 1M is out of range*"
said "a cache of nonsense" "objects-cache = 10 apples" "*objects-cache: '10 apples' is not a size*"

# a wrong key is seen at once
settings s3
echo 'objects-key = nobody' >> "$STORE/config"
up || exit 99
works "settings: a server that refuses us is seen in health, before anything is put" until_true 20 grep -q 'InvalidAccessKeyId' "$CLOUD/health"
cloud_down

# ---- packs move
settings none
up || exit 99
mkdir "$CLOUD/tenants/t" "$CLOUD/tenants/t/containers/c" || exit 99
O=$CLOUD/tenants/t/containers/c/objects
content 6 "$O/old"
sync "$O/old-6"
is "without a place all packs are here" "$(metric place_packs)" ""
cloud_down
settings s3
up || exit 99
content 12 "$O/new"
sync "$O/new-12"
sums > "$WORK/sums"
works "full packs move, those of before as well" moved
like "... they are there" "$(there)" "[1-9]*"
is "... as many as metrics say" "$(metric place_packs)" "$(there)"
[ "$(here)" -le 4 ] && [ "$(there)" -ge 5 ]
report $? "... and not here" "$(here) here, $(there) there"
is "what is read is what was written" "$(whole)" ""
cold
is "... after a mount, without a cache" "$(whole)" ""
like "... it came from there" "$(metric cache_misses_total)" "[1-9]*"
n1=$(gets)
cold > /dev/null
cloud_down; up
whole > /dev/null
n2=$(gets)
cloud_down; up
is "... and then from the cache, which survives a mount" "$(whole)" ""
is "... nothing was got twice" "$(gets)" "$n2"
[ "$n2" -gt "$n1" ] || report 1 "without the cache it was got" "$n1 $n2"
cold
n1=$(gets)
packs=$(there)
cp "$O/new-1" "$WORK/copy" && cp "$O/new-12" "$WORK/copy12"
n1=$(gets)
cp "$WORK/copy" "$O/again" && cp "$WORK/copy12" "$O/again12" && sync "$O/again12"
is "what is there already is shared by its digest: nothing is got" "$(gets)" "$n1"
rm "$O/again" "$O/again12"
is "health" "$(cat "$CLOUD/health")" ok
cloud_down
works "fsck --data is content" fsck --data
is "what is here and there is what the document says" "$(audit)" ""

# ---- the server is away
rm -rf "$STORE/objects/cache"
up
serve_not
fails "the server is away: what is there cannot be read" cat "$O/new-3"
like "... EIO" "$out" "*Input/output error*"
like "... and why" "$(head -n 1 "$CLOUD/last-error")" "EIO*Failed to connect*"
content 9 "$O/away"
works "what is new is written" sync "$O/away-9"
works "... and read" cat "$O/away-9"
works "... health says that packs wait" until_true 60 grep -q 'packs of objects cannot be moved.*Failed to connect' "$CLOUD/health"
like "... metrics how many" "$(metric place_waiting_packs)" "[1-9]*"
begin=$(date +%s)
works "it can be unmounted" cloud_down
[ $(($(date +%s) - begin)) -lt 10 ] || report 1 "... at once" "$(($(date +%s) - begin)) s"
fails "fsck says that the place cannot be asked" fsck --data
like "... and nothing else" "$out" "objects: their place: it cannot be asked*"
is "... one line" "$(grep -c '^objects\|container' "$WORK/fsck")" 1
fails "fsck --repair does" fsck --data --repair
up
serve
works "it is back: packs move" moved
is "... health" "$(cat "$CLOUD/health")" ok
sums > "$WORK/now"
is "all is there" "$(grep -v away- "$WORK/now" | diff - "$WORK/sums")" ""
mv "$WORK/now" "$WORK/sums"
cloud_down
is "... nothing was marked bad" "$(sqlite3 "$STORE/objects/index.db" 'SELECT count(*) FROM chunk WHERE bad')" 0
works "fsck --data is content" fsck --data
printf 'GET 500 3\nPUT close 2\nPUT lost 1\nGET cut 2\n' > "$WORK/modes"
rm -rf "$STORE/objects/cache"
up
content 4 "$O/ill"
sync "$O/ill-4"
is "a server that is not well: all is read" "$(sums | grep -v ill- | diff - "$WORK/sums")" ""
works "... packs move" moved
sums > "$WORK/sums"
: > "$WORK/modes"

# ---- not that place
cloud_down
settings none
works "without the settings it is mounted" up
like "... health names what is missing" "$(cat "$CLOUD/health")" "*packs of it are in 's3 http://127.0.0.1:$PORT bucket packs prefix cloud1/'*objects-place*"
fails "... no object is read" cat "$O/new-3"
cloud_down
fails "... fsck says so" fsck --data --repair
like "... the same" "$out" "*objects-place*"
settings s3 elsewhere/
rm -rf "$STORE/objects/cache"
up
fails "another prefix: nothing is taken for lost" cat "$O/new-3"
like "... EIO" "$(head -n 1 "$CLOUD/last-error")" "EIO*it is not the place*"
content 4 "$O/there"
sync "$O/there-4"
works "... health says that it is another" until_true 20 grep -q 'is not the place' "$CLOUD/health"
is "... nothing is put there" "$(there elsewhere)" 0
cloud_down
fails "... fsck says so" fsck --data --repair
settings s3
up
sums | grep -v there- | diff - "$WORK/sums" > "$WORK/diff"
is "with the settings back all is there" "$(cat "$WORK/diff")" ""
sums > "$WORK/sums"
moved
cloud_down
works "fsck --data is content" fsck --data

# ---- damage
victim=$(find "$WORK/bucket" -name 'packs%2Fcloud1%2F*.pack' | sort | head -n 1)
cp "$victim" "$WORK/victim"
size=$(stat -c %s "$victim")
flip() { python3 -c 'import sys; f = open(sys.argv[1], "r+b"); f.seek(int(sys.argv[2])); b = f.read(1)[0] ^ 16; f.seek(int(sys.argv[2])); f.write(bytes([b]))' "$1" "$2"; }
flip "$victim" $((size / 2))
rm -rf "$STORE/objects/cache"
fails "a bit that flipped there: fsck --data finds it" fsck --data
like "... and names the object" "$(cat "$WORK/fsck")" "*/objects/*: bytes of it are lost*"
broken=$(sed -n 's/.*\/objects\/\(.*\): bytes of it are lost.*/\1/p' "$WORK/fsck" | head -n 1)
up
fails "... its object cannot be read" sha256sum "$O/$broken"
like "... EBADMSG" "$(head -n 1 "$CLOUD/last-error")" "EBADMSG*objects/$broken: *is damaged"
is "... all others can" "$(sums | grep -cv ' ')" 0
is "... one is not" "$(diff <(sums) "$WORK/sums" | grep -c '^> ')" 1
cp "$WORK/victim" "$victim"
is "what is mended there is read at once" "$(whole)" ""
cloud_down
works "fsck --data is content" fsck --data
block=$(find "$STORE/objects/cache" -type f -size +500k | head -n 1)
[ -n "$block" ] || report 1 "the cache has blocks" "$(find "$STORE/objects/cache" | head)"
flip "$block" 300000
up
is "a bit that flipped in the cache is nobody's trouble" "$(whole)" ""
cloud_down
mv "$victim" "$WORK/victim"
fails "a pack that is gone there: fsck says so" fsck
like "... which" "$(cat "$WORK/fsck")" "objects: pack *missing in the place*"
mv "$WORK/victim" "$victim"
works "... and back" fsck --data

# ---- an older copy of the index, and none
sqlite3 "$STORE/objects/index.db" ".backup $WORK/index.old"
cp -a "$STORE/objects/packs" "$WORK/packs.old"
up
content 5 "$O/later"
sync "$O/later-5"
until_true 60 eval '[ "$(metric place_waiting_packs)" = 0 ]'
cloud_down
rm "$STORE"/objects/index.db*
fails "the index is lost: fsck says so" fsck
like "... and that there are packs" "$(cat "$WORK/fsck")" "*index.db: it is missing, and packs are there*"
before=$(there)
up
mkdir "$CLOUD/tenants/t/containers/new"
content 4 "$CLOUD/tenants/t/containers/new/objects/x"
sync "$CLOUD/tenants/t/containers/new/objects/x-4"
moved
[ "$(there)" -gt "$before" ]
report $? "... a new one goes on, beside what is there" "$before before, $(there) now"
cloud_down
rm "$STORE"/objects/index.db*
cp "$WORK/index.old" "$STORE/objects/index.db"
rm -rf "$STORE/objects/packs" && cp -a "$WORK/packs.old" "$STORE/objects/packs"
up
is "with a copy of the index all that it knows is there" "$(whole)" ""
cloud_down
fsck --data
like "... fsck speaks of packs it does not know" "$(cat "$WORK/fsck")" "objects: their place: [1-9]* packs there are not in the index*"
# an index from before packs moved
sqlite3 "$STORE/objects/index.db" "UPDATE pack SET place = NULL, away = 0 WHERE id IN (SELECT id FROM pack WHERE away = 1 LIMIT 4)"
up
works "packs that were moved after it are found there" until_true 30 eval 'whole'
cloud_down
is "... and the index knows it again" "$(sqlite3 "$STORE/objects/index.db" 'SELECT count(*) FROM pack WHERE live > 0 AND away = 0' | xargs -I{} test {} -le "$(here)" && echo yes)" yes
# a row that is wrong: repair looks through what is there
sqlite3 "$STORE/objects/index.db" "UPDATE chunk SET at = at + 8 WHERE id = (SELECT min(id) FROM chunk WHERE pack IN (SELECT id FROM pack WHERE away = 1))"
fails "a place that is wrong is found" fsck --data
fsck --data --repair
up
is "... and mended from packs that are there" "$(whole)" ""
cloud_down
# ... also from those that the index does not know
P=$(sqlite3 "$STORE/objects/index.db" "SELECT max(id) FROM pack WHERE away = 1 AND live > 0")
sqlite3 "$STORE/objects/index.db" "UPDATE chunk SET pack = 7777 WHERE pack = $P; DELETE FROM pack WHERE id = $P"
fails "chunks whose pack is not in the index are found" fsck
fsck --repair
like "... their pack is found there" "$(cat "$WORK/fsck")" "*found in a pack*"
up
is "... and all is there" "$(whole)" ""
cloud_down
# all of it is dropped: only what the index knows stays there
is "what is here and there is what the document says" "$(audit)" ""
sqlite3 "$STORE/objects/index.db" "SELECT place FROM pack WHERE place IS NOT NULL" | sort > "$WORK/known"
for f in "$WORK"/bucket/packs%2Fcloud1%2F*.pack; do grep -qxF "${f##*%2F}" "$WORK/known" || rm "$f"; done
works "fsck --data is content" fsck --data

# ---- what is dead goes
up
before=$(there)
works "half of it is removed" sh -c 'rm -f "$0"/new-* "$0"/away-* "$0"/old-[1-3]' "$O"
sums > "$WORK/sums"
works "packs that are half dead go there" until_true 90 eval '[ "$(there)" -lt '$((before / 2))' ]'
is "... what lives is read" "$(whole)" ""
cloud_down
rm -rf "$STORE/objects/cache"
up
is "... also from there" "$(whole)" ""
cloud_down
works "fsck --data is content" fsck --data
is "there is what the index says, and nothing else" "$(there)" "$(sqlite3 "$STORE/objects/index.db" 'SELECT count(*) FROM pack WHERE place IS NOT NULL')"

# ---- kill -9
wrong=
for ((i = 0; i < ROUNDS; i++)); do
	rm -rf "$STORE/objects/cache"
	CIRRUSFS_PLACE_FAULT=$([ $((i % 2)) = 0 ] && echo "put:*:hang200,delete:*:hang100" || echo "put:2:EIO,put:3:doneEIO,put:4:hang500,delete:1:doneEIO") up || { wrong="round $i: not mounted"; break; }
	rm -f "$O/kill$((i - 1))"-[3-9]*
	content 8 "$O/kill$i"
	sync "$O/kill$i-8"
	sleep 0.$((RANDOM % 10))
	(cd "$O" && sync -- *) && sums > "$WORK/sums"
	sleep $((RANDOM % 3)).$((RANDOM % 10))
	cloud_kill
	fsck --data || wrong="$wrong
round $i: $(cat "$WORK/fsck")"
	up
	wrong="$wrong$(whole)"
	[ $((i % 3)) = 2 ] && sleep 1
	cloud_kill
done
is "killed $ROUNDS times while packs moved (SEED=$SEED): all that was synced is there, and sound" "$wrong" ""
up
works "packs move in the end" moved
until_true 60 eval '[ "$(sqlite3 -readonly "$STORE/objects/index.db" "SELECT count(*) FROM pack WHERE live * 2 < size AND place IS NOT NULL")" = 0 ]'
is "... all is there" "$(whole)" ""
cloud_down
works "fsck --data is content" fsck --data
is "there is what the index says, and nothing else" "$(there)" "$(sqlite3 "$STORE/objects/index.db" 'SELECT count(*) FROM pack WHERE place IS NOT NULL')"

is "what is here and there is what the document says" "$(audit)" ""

# ---- back: all but one, and all
for f in "$WORK"/bucket/packs%2Fcloud1%2F*; do cp "$f" "$STORE/objects/packs/${f##*%2F}"; done
settings none
one=$(find "$STORE/objects/packs" -name '*-*.pack' | sort | tail -n 1)
mv "$one" "$WORK/one"
fails "one pack is not home yet: fsck says so" fsck
like "... which is no loss" "$out" "*1 packs of it are in *"
mv "$WORK/one" "$one"
up
is "what was brought back is read without a place" "$(whole)" ""
cloud_down
works "fsck --data is content" fsck --data

# ---- another directory, and Swift
for kind in dir swift; do
	settings $kind
	up
	content 6 "$O/$kind"
	sync "$O/$kind-6"
	sums > "$WORK/sums"
	works "$kind: packs move" moved
	like "$kind: ... they are there" "$(metric place_packs)" "[1-9]*"
	cold
	is "$kind: all is read" "$(whole)" ""
	cloud_down
	works "$kind: fsck --data is content" fsck --data
	if [ $kind = dir ]; then	# home again
		cp "$WORK"/dir/* "$STORE/objects/packs/"
		settings none
		up
		cloud_down
	fi
done
up
rm -f "$O"/*
works "all of it goes, there as well" until_true 90 eval '[ "$(there swift)" -le 1 ]'
cloud_down
works "fsck --data is content" fsck --data

# ---- more than the disk here has room for
mkdir "$WORK/small"
mount -t tmpfs -o size=64m tmpfs "$WORK/small" || { echo "# no tmpfs"; finish; }
chmod 711 "$WORK/small"
STORE=$WORK/small/store
"$CIRRUSFS" init "$STORE" > /dev/null && printf 'virt-type = qemu\n' >> "$STORE/config"
settings s3 small/
up
mkdir "$CLOUD/tenants/t" "$CLOUD/tenants/t/containers/c"
more() { # NAME: once there is room again
	head -c 5000000 /dev/urandom > "$WORK/f"
	until_true 60 eval 'cp "$WORK/f" "$O/'"$1"'" && sync "$O/'"$1"'"' || return 1
	echo "$(sha256sum < "$WORK/f" | cut -d' ' -f1)  $1" >> "$WORK/more"
}
works "a disk of 64 MB takes 120 MB: packs leave it" eval 'for i in $(seq 11 34); do more $i || break; done; [ $i = 34 ]'
is "... all is there" "$(sums | diff - "$WORK/more")" ""
cloud_down
works "fsck --data is content" fsck --data
umount "$WORK/small"
finish
