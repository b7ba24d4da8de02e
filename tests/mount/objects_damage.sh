# Objects on a disk that lies, loses and fills: flipped bits, packs cut off and gone, no index, no room.  SEED= for the same again, FLIPS=200.
# timeout 3600
. "$(dirname "$0")/lib.sh"
SEED=${SEED:-$(date +%s)} FLIPS=${FLIPS:-10}
cloud_up
C=$CLOUD/tenants/t/containers/c OBJECTS=$CLOUD/tenants/t/containers/c/objects
mkdir "$CLOUD/tenants/t" && mkdir "$C" || exit 99
damage() { python3 "$TOP/tests/mount/objects_damage.py" "$1" "$OBJECTS" "$STORE/objects" "$WORK/sums" "$SEED" "${@:2}"; }
up() { "$CIRRUSFS" mount "$STORE" "$CLOUD"; }
fsck() { "$CIRRUSFS" fsck "$@" "$STORE" > "$WORK/fsck" 2>&1 || { set -- $?; head -n 6 "$WORK/fsck"; return "$1"; }; }
keep() { rm -rf "$WORK/kept"; cp -a "$STORE/objects" "$WORK/kept"; }
back() { rm -rf "$STORE/objects"; cp -a "$WORK/kept" "$STORE/objects"; }
damage make
cloud_down
works "fsck --data of what is whole" fsck --data
keep
[ "$(cat "$STORE"/objects/packs/*.pack | wc -c)" -gt 1000000 ] || report 1 "the objects are in packs" "$(ls -l "$STORE/objects/packs")"

# ---- one bit, again and again: who reads it is told, all others are as they were, and fsck finds it
wrong= unseen= hit=0
for ((i = 0; i < FLIPS; i++)); do
	what=$(damage flip "$i")
	fsck --data && unseen="$unseen
$what"
	up || { report 1 "a store with a flipped bit is mounted" "$what"; break; }
	out=$(damage read)
	case $out in
	"0 bad"*) ;;
	"1 bad: "*) hit=$((hit + 1)); case $(head -n 1 "$CLOUD/last-error") in EBADMSG*) ;; *) wrong="$wrong
$what: last-error: $(head -n 1 "$CLOUD/last-error")" ;; esac ;;
	*) wrong="$wrong
$what: $out" ;;
	esac
	cloud_down
	back
done
is "$FLIPS times a bit (SEED=$SEED): EBADMSG for one object at most, all others as they were" "$wrong" ""
is "... fsck --data found each" "$unseen" ""
[ $hit -gt $((FLIPS / 2)) ] || report 1 "most of them hit an object" "$hit of $FLIPS"
works "... without it all is well" fsck --data

# ---- many at once, and what repair makes of it
many() { for ((i = 0; i < 5; i++)); do damage flip "m$i" > /dev/null; done; }
many
fails "fsck --data finds several" fsck --data
up
said=$(damage read)
like "several objects are bad, the others are not" "$said" "[1-5] bad: *"
cloud_down
fsck --data --repair
up
is "after a repair the same are bad, and no others" "$(damage read)" "$said"
names=$(damage names)
# shellcheck disable=SC2086  # words
works "bad objects can be removed" sh -c 'cd "$0" && rm -f -- "$@"' "$OBJECTS" $names
cloud_down
fsck --data --repair
works "and then fsck --data finds nothing" fsck --data
[ "$bad" = 0 ] || head -n 20 "$WORK/fsck" | sed 's/^/# /'
back
many
up
works "who writes the same bytes again has them, and does not share the bad ones" damage heal
cloud_down
up
is "... also after a while" "$(damage read)" "0 bad"
cloud_down
fsck --data --repair
works "... fsck --data finds nothing after a repair" fsck --data
up
is "... and all is there" "$(damage read)" "0 bad"
cloud_down
back

# ---- packs cut off, gone
for what in truncate remove; do
	said=$(damage $what)
	fails "$what: fsck finds it ($said)" fsck --data
	up
	works "$what: the store is mounted" test -d "$OBJECTS"
	like "$what: objects are whole or refused, none is wrong" "$(damage read)" "[1-9]* bad: *"
	works "$what: what is new works" sh -c 'head -c 300000 /dev/urandom > "$0/new" && cmp "$0/new" "$0/new"' "$OBJECTS"
	cloud_down
	back
done

# ---- the index is gone: packs alone give the chunks back; without repair nothing is made anew over them
rm -f "$STORE"/objects/index.db*
packs=$(find "$STORE/objects/packs" -name '*.pack' -printf '%f\n' | sort)
fails "without its index: fsck says so" fsck --data
is "... and touches nothing" "$(ls "$STORE/objects"; ls "$STORE/objects/packs")" "$(printf 'packs\n%s' "$packs")"
if up 2> "$WORK/said"; then
	like "... health says so, too" "$(cat "$CLOUD/health")" "*index.db was lost*lost+found*"
	ls "$OBJECTS" > /dev/null 2>&1
	cloud_down
fi
cp "$WORK/kept/index.db" "$STORE/objects/index.db"
rm -f "$STORE"/objects/index.db-*
works "a copy of the index that is put back finds its packs" up
is "... and all is there" "$(damage read)" "0 bad"
cloud_down
is "no pack is lost by that" "$(find "$STORE/objects/packs" -name '*.pack' -printf '%f\n' | sort)" "$packs"
fsck --data --repair
works "after a repair it is mounted" up
[ -d "$C" ] || mkdir "$C"
works "... and takes objects" sh -c 'echo new > "$0/after" && grep -qx new "$0/after"' "$OBJECTS"
cloud_down
works "... and is sound" fsck --data
back
# ---- the index is damaged
dd if=/dev/urandom of="$STORE/objects/index.db" bs=4096 count=6 seek=2 conv=notrunc status=none
fails "a damaged index: fsck says so" fsck --data
if up 2> "$WORK/said"; then
	is "none of what is read is wrong" "$(damage read | grep wrong)" ""
	cloud_down
fi
back
works "with all back in its place all is well" fsck --data
up
is "... and whole" "$(damage read)" "0 bad"
cloud_down

# ---- no room
mkdir "$WORK/small"
mount -t tmpfs -o size=${SMALL:-48m} tmpfs "$WORK/small" || { echo "# no tmpfs"; finish; }
chmod 711 "$WORK/small"
STORE=$WORK/small/store
cloud_up
mkdir "$CLOUD/tenants/t" && mkdir "$C" || exit 99
damage small
# written until there is no room, synced, by three at once
damage fill > "$WORK/filled"
is "the disk is full: writers are told ENOSPC, and nothing else" "$(cut -d' ' -f1 "$WORK/filled" | sort -u)" ENOSPC
is "... all that was synced is whole" "$(damage read)" "0 bad"
like "... health says so" "$(cat "$CLOUD/health")" "*full*"
fails "... it is still full" sh -c 'head -c 50000000 /dev/urandom > "$0/toolarge" && sync "$0/toolarge"' "$OBJECTS"
rm -f "$OBJECTS/toolarge"
works "... objects can be removed" sh -c 'rm -f "$0"/fill-*' "$OBJECTS"
is "... those that are there are whole" "$(damage read)" "0 bad"
works "... and in a while there is room again" until_true 60 sh -c 'head -c 6000000 /dev/urandom > "$0/again" && sync "$0/again"' "$OBJECTS"
cloud_down
works "... fsck --data finds nothing" fsck --data
[ "$bad" = 0 ] || head -n 10 "$WORK/fsck" | sed 's/^/# /'
# full, and killed
up
damage fill > /dev/null
cloud_kill
works "killed when it was full, it is mounted again" up
is "... and whole" "$(damage read)" "0 bad"
works "... emptied" sh -c 'rm -f "$0"/fill-*' "$OBJECTS"
cloud_down
works "... and sound" fsck --data
# full because of others
up
# what was removed is given back in the background: they take that, too
works "others took all of it: a writer is told" until_true 30 sh -c 'head -c 100000000 /dev/zero >> "$1/others"; ! { head -c 3000000 /dev/urandom > "$0/x" && sync "$0/x"; }' \
	"$OBJECTS" "$WORK/small"
is "... what is there can be read" "$(damage read)" "0 bad"
rm -f "$WORK/small/others"
works "... and when they go, all works" until_true 20 sh -c 'head -c 3000000 /dev/urandom > "$0/x" && sync "$0/x" && cp "$0/x" "$0/y" && cmp "$0/x" "$0/y"' "$OBJECTS"
cloud_down
works "... fsck --data finds nothing" fsck --data
umount "$WORK/small"
finish
