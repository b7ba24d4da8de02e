# The disk that holds the store is full, and then read-only: what is asked is done whole, or refused with ENOSPC, EROFS or EIO and a sentence and nothing
# of it done; what is there goes on and can be read; when there is room again all works.
# timeout 300
. "$(dirname "$0")/lib.sh"
shopt -s extglob
mkdir "$WORK/small"
mount -t tmpfs -o size=24m tmpfs "$WORK/small" || { echo "1..0 # skip no tmpfs"; exit 0; }
chmod 711 "$WORK/small"
STORE=$WORK/small/store
cloud_up
sim_up
T=$CLOUD/tenants/acme
cd "$T" || exit 99
put 'create s flavor=m1.tiny image=tiny network=lan host=sim description=before' servers/ctl
mkdir servers/draft images/queued
cat "$CLOUD/wait" > /dev/null
head -c 40000 /dev/zero | tr '\0' x > "$WORK/long"
fill() { until head -c 100000000 /dev/zero >> "$WORK/small/fill" 2> /dev/null; [ "$(stat -f -c %f "$WORK/small")" != 0 ]; do break; done; }
room() { rm -f "$WORK/small/fill"; }
audit() { python3 "$TOP/tests/mount/audit.py" "$STORE" "$@"; }

# either NAME ERRNOS WHAT-HOLDS-THEN COMMAND...: it works, and then that holds; or it is refused with one of those, and that does not hold.
refusals=0
either() {
	name=$1 errnos=$2 then=$3
	shift 3
	if said=$("$@" 2>&1); then
		if eval "$then" > /dev/null 2>&1; then report 0 "$name: done"; else report 1 "$name" "it was accepted, and is not so"; fi
		return
	fi
	last=$(head -n 1 "$CLOUD/last-error")
	eval "$then" > /dev/null 2>&1 && { report 1 "$name" "it was refused, and is so: $last"; return; }
	refusals=$((refusals + 1))
	case $(echo "$last" | cut -d' ' -f1) in
	$errnos) case $last in *"the disk that holds the store "* | *"No space left on device"* | *"Read-only file system"*) report 0 "$name: refused"; return ;; esac ;;
	esac
	report 1 "$name" "$said" "last-error: $last"
}
# everything one can ask for, with a suffix for what is new
all() {
	i=$1
	either "$i: a value" "$2" "[ \"\$(cat servers/s/description)\" = '$i' ]" put "$i" servers/s/description
	either "$i: a long value" "$2" 'cmp -s <(cat servers/s/description) <(cat "$WORK/long"; echo)' put "$(cat "$WORK/long")" servers/s/description
	either "$i: a document" "$2" 'cmp servers/draft/user-data "$WORK/long"' cp "$WORK/long" servers/draft/user-data
	[ "$(cat servers/draft/user-data)" = "" ] || : > servers/draft/user-data
	either "$i: a draft" "$2" "[ -d servers/$i ]" mkdir "servers/$i"
	either "$i: a tenant" "$2" "[ -d $CLOUD/tenants/$i ]" mkdir "$CLOUD/tenants/$i"
	either "$i: a server" "$2" "[ -d servers/made$i ]" put "create made$i flavor=m1.tiny image=tiny network=lan host=sim" servers/ctl
	either "$i: a script" "$2" "[ -d $CLOUD/flavors/f$i ]" put "create flavors/f$i vcpus=1 ram=64" "$CLOUD/ctl"
	either "$i: metadata" "$2" "[ \"\$(cat servers/s/metadata/$i)\" = v ]" put v "servers/s/metadata/$i"
	either "$i: rename" "$2" "[ -d images/$i ]" mv -T images/queued "images/$i"
	[ ! -d "images/$i" ] || either "$i: rename back" "$2" '[ -d images/queued ]' mv -T "images/$i" images/queued
	either "$i: a verb" "$2" '[ "$(cat servers/s/task servers/s/status | xargs)" != "none ACTIVE" ]' put stop servers/s/ctl
	cat servers/s/wait > /dev/null 2>&1
	[ "$(cat servers/s/status)" = ACTIVE ] || either "$i: and another" "$2" '[ "$(cat servers/s/status)" = ACTIVE ]' sh -c 'echo start > servers/s/ctl && cat servers/s/wait'
	either "$i: an upload" "$2" 'cat images/queued/wait; [ "$(cat images/queued/status)" = active ]' dd if=/dev/zero of=images/queued/data bs=1M count=8 status=none
	either "$i: a link" "$2" "[ -L servers/draft/networks/$i ]" ln -sr networks/lan "servers/draft/networks/$i"
	either "$i: a deletion" "$2" "! [ -d servers/made0 ]" rmdir servers/made0
}
put 'create made0 flavor=m1.tiny image=tiny network=lan host=sim' servers/ctl
cat "$CLOUD/wait" > /dev/null
fill
i=0
# what the log of the database has room for is taken first
while put "$(cat "$WORK/long")$i" servers/s/description 2> /dev/null && [ $i -lt 200 ]; do i=$((i + 1)); done
like "the disk is full: the writer is told" "$(head -n 1 "$CLOUD/last-error")" "ENOSPC tenants/acme/servers/s/description: *the disk that holds the store is full*"
like "health says so" "$(cat "$CLOUD/health")" "*the disk that holds the store is almost full: 0 MiB*"
is "the errno is that of the call" "$(/bin/echo "$(cat "$WORK/long")" 2>&1 > servers/s/description | grep -c 'No space left')" 1
refusals=0
all full ENOSPC
[ $refusals -ge 5 ] || report 1 "something was refused" "only $refusals"
is "what was there can be read" "$(cat servers/s/status networks/lan/status; find "$CLOUD" -type f ! -name '*-follow' -exec cat {} + > /dev/null; echo $?)" "ACTIVE
ACTIVE
0"
is "the database is sound" "$(audit busy)" ""
room
works "when there is room, what was under way comes to its end" timeout 60 cat "$CLOUD/wait"
is "nothing is amiss" "$(audit)" ""
like "health is well" "$(until_true 60 sh -c '! grep -v "almost full" "$0"' "$CLOUD/health"; cat "$CLOUD/health")" "*almost full*[1-9]* MiB*"
[ -d servers/made0 ] || { put 'create made0 flavor=m1.tiny image=tiny network=lan host=sim' servers/ctl && cat "$CLOUD/wait" > /dev/null; }
refusals=0
all room NONE
is "with room all of it is done" "$refusals" 0

cd /
cloud_down
cloud_up
is "a mount finds it sound" "$(cat "$CLOUD/wait" > /dev/null; audit)" ""
cloud_down
pkill -x dnsmasq	# of this test alone: it keeps its files open
until_true 60 umount "$WORK/small"

# read-only, as the kernel makes a file system that lost its disk (the administrator's remount,ro is refused while a store is served)
truncate -s 60M "$WORK/image"
if ! { mkfs.ext4 -q -F "$WORK/image" && mount -o loop "$WORK/image" "$WORK/small"; } 2> /dev/null; then
	echo "# no loop device or no ext4: the read-only half is not tried"
	finish
fi
chmod 711 "$WORK/small"
cloud_up
sim_up
cd "$T" || exit 99
put 'create s flavor=m1.tiny image=tiny network=lan host=sim description=before' servers/ctl
mkdir servers/draft images/queued
put 'create made0 flavor=m1.tiny image=tiny network=lan host=sim' servers/ctl
cat "$CLOUD/wait" > /dev/null
fails "the administrator cannot take a store that is served" mount -o remount,ro "$WORK/small"
mount -o remount,abort "$WORK/small"
refusals=0
all ro '@(EROFS|EIO)'
[ $refusals -ge 13 ] || report 1 "all of it is refused" "only $refusals"
is "the errno is that of the call" "$(/bin/echo no 2>&1 > servers/s/description | grep -cE 'Read-only file system|Input/output error')" 1
is "what was there can be read" "$(cat servers/s/status servers/s/description networks/lan/status; find "$CLOUD" -type f ! -name '*-follow' -exec cat {} + > /dev/null; echo $?)" "ACTIVE
before
ACTIVE
0"
cd /
works "it can be unmounted" cloud_down
pkill -x dnsmasq
until_true 60 umount "$WORK/small"
e2fsck -fy "$WORK/image" > "$WORK/said" 2>&1
mount -o loop "$WORK/image" "$WORK/small"
cloud_up
cd "$T" || exit 99
is "on a disk that was mended, all is as it was" "$(cat servers/s/status servers/s/description servers/draft/status images/queued/status | xargs)" "ACTIVE before DRAFT queued"
refusals=0
all rw NONE
is "and all works again" "$refusals" 0
is "nothing is amiss" "$(cat "$CLOUD/wait" > /dev/null; audit)" ""
cd /
cloud_down
pkill -x dnsmasq
until_true 60 umount "$WORK/small"
finish
