# init, mount and the ways a mount ends.
. "$(dirname "$0")/lib.sh"
# says NAME PATTERN COMMAND...: it fails within 60 s, and what it says matches.
says() {
	name=$1 pattern=$2
	shift 2
	if out=$(timeout 60 "$@" 2>&1); then report 1 "$name" "it did not fail: $out"; else like "$name" "$out" "$pattern"; fi
}
mounted() { grep -c " $CLOUD .* fuse.cirrusfs " /proc/self/mountinfo; }

# init
like "init says what to do next" "$("$CIRRUSFS" init "$STORE")" "*cirrusfs mount $STORE *"
echo 'virt-type = qemu' >> "$STORE/config"
(cd "$STORE" && find . -type f -exec md5sum {} + | sort) > "$WORK/before"
says "init twice is refused" "*there is already a store at $STORE*" "$CIRRUSFS" init "$STORE"
is "and changes nothing" "$(cd "$STORE" && find . -type f -exec md5sum {} + | sort | diff "$WORK/before" -)" ""
is "nobody else can look into the store" "$(stat -c %a "$STORE/state.db")" 600
says "init with two stores is a mistake" "usage: cirrusfs init*" "$CIRRUSFS" init a b
says "init below what is not there" "*No such file*" "$CIRRUSFS" init "$WORK/none/store"
says "an unknown command" "*there is no command 'explode'*" "$CIRRUSFS" explode
for command in init mount help; do
	like "$command --help explains" "$("$CIRRUSFS" "$command" --help)" "usage: cirrusfs $command*"
done
like "--help names the commands" "$("$CIRRUSFS" --help)" "*cirrusfs init*cirrusfs mount*"
like "--version" "$("$CIRRUSFS" --version)" "cirrusfs [0-9]*"

# what cannot be mounted
mkdir "$WORK/empty"
says "not a store" "*'$WORK/empty' is no store; cirrusfs init makes one*" "$CIRRUSFS" mount "$WORK/empty" "$CLOUD"
says "no such store" "*$WORK/none*" "$CIRRUSFS" mount "$WORK/none" "$CLOUD"
says "no such mount point" "*mount point $WORK/none: No such file*" "$CIRRUSFS" mount "$STORE" "$WORK/none"
touch "$WORK/file"
says "a file as mount point" "*not a directory*" "$CIRRUSFS" mount "$STORE" "$WORK/file"
says "an unknown option" "usage: cirrusfs mount*" "$CIRRUSFS" mount -q "$STORE" "$CLOUD"
says "an option the kernel does not know" "*nonsense=1*" "$CIRRUSFS" mount -o nonsense=1 "$STORE" "$CLOUD"
cp "$STORE/config" "$WORK/config"
echo 'colour = blue' >> "$STORE/config"
says "an unknown key in config" "*colour*" "$CIRRUSFS" mount "$STORE" "$CLOUD"
cp "$WORK/config" "$STORE/config"
echo 'workers = many' >> "$STORE/config"
says "a bad value in config" "*workers*" "$CIRRUSFS" mount "$STORE" "$CLOUD"
echo 'workers = 0' >> "$STORE/config"
says "a value out of range in config" "*workers*" "$CIRRUSFS" mount "$STORE" "$CLOUD"
cp "$WORK/config" "$STORE/config"
printf 'workers = 4\nworkers = 2\n' >> "$STORE/config"
works "two equal keys: the last holds" "$CIRRUSFS" mount "$STORE" "$CLOUD"
is "nothing is left mounted by those that failed" "$(mounted)" 1
cp "$WORK/config" "$STORE/config"
is "it answers as soon as mount returns" "$(cat "$CLOUD/tenants/admin/enabled")" true
pid=$(cloud_pid)

# a second one
mkdir "$WORK/second"
begin=$(date +%s)
says "a second mount of the store is refused, and names the process" "*$STORE is held by process $pid, mounted at $CLOUD*" "$CIRRUSFS" mount "$STORE" "$WORK/second"
is "without waiting long" "$(($(date +%s) - begin < 5))" 1
says "at the same place too" "*mounted at $CLOUD already*" "$CIRRUSFS" mount "$STORE" "$CLOUD"
"$CIRRUSFS" init "$WORK/store2" > /dev/null && echo 'virt-type = qemu' >> "$WORK/store2/config"
says "another store at the same place too" "*mounted at $CLOUD already*" "$CIRRUSFS" mount "$WORK/store2" "$CLOUD"
works "another store elsewhere is mounted beside it" "$CIRRUSFS" mount "$WORK/store2" "$WORK/second"
mkdir "$CLOUD/tenants/one"
is "the two are two clouds" "$(ls "$WORK/second/tenants" | grep -c one)" 0
umount "$WORK/second"

# who is served
says "others than root are not" "*Permission denied*" setpriv --reuid 65534 --regid 65534 --clear-groups ls "$CLOUD"
says "nor do they read what they know the name of" "*Permission denied*" setpriv --reuid 65534 --regid 65534 --clear-groups cat "$CLOUD/tenants/admin/id"
says "nor may they mount" "*only root may mount*" setpriv --reuid 65534 --regid 65534 --clear-groups "$CIRRUSFS" mount "$STORE" "$WORK/second"
says "nor make a store" "*only root may make a store*" setpriv --reuid 65534 --regid 65534 --clear-groups "$CIRRUSFS" init "$WORK/third"

# umount
exec 7< "$CLOUD/version"
says "umount while a file is open is EBUSY" "*busy*" umount "$CLOUD"
is "and the mount lives on" "$(cat "$CLOUD/health" > /dev/null && mounted)" 1
exec 7<&-
works "umount once it is closed" umount "$CLOUD"
works "mount at once waits for the one that leaves" "$CIRRUSFS" mount "$STORE" "$CLOUD"
is "it is another process" "$([ "$(cloud_pid)" != "$pid" ] && echo yes)" yes
is "and what was made is there" "$(cat "$CLOUD/tenants/one/enabled")" true
for _ in 1 2 3 4 5; do umount "$CLOUD" && "$CIRRUSFS" mount "$STORE" "$CLOUD" || break; done
is "five times in a row" "$(cat "$CLOUD/tenants/one/enabled")" true
kill -TERM "$(cloud_pid)"
works "SIGTERM ends the process" cloud_gone
is "and detaches the mount" "$(mounted)" 0
works "after it it is mounted again" "$CIRRUSFS" mount "$STORE" "$CLOUD"
pid=$(cloud_pid)
kill -9 "$pid"
while kill -0 "$pid" 2> /dev/null; do sleep 0.05; done
says "after kill -9 the mount is dead" "*not connected*" ls "$CLOUD"
works "mount detaches it and mounts" "$CIRRUSFS" mount "$STORE" "$CLOUD"
is "once" "$(mounted)" 1
is "and what was made is there still" "$(cat "$CLOUD/tenants/one/enabled")" true
(cd "$WORK" && kill -9 "$(cloud_pid)" && cloud_gone && "$CIRRUSFS" mount store cloud)
is "with relative paths too" "$(cat "$CLOUD/tenants/one/enabled")" true
cloud_down

# the other ways to mount
works "cirrusfs STORE MOUNTPOINT -o ..." "$CIRRUSFS" "$STORE" "$CLOUD" -o rw,noatime,nodev,nosuid,x-systemd.automount
is "serves" "$(cat "$CLOUD/tenants/one/enabled")" true
cloud_down
works "-o before it, options of fstab" "$CIRRUSFS" mount -o defaults,noauto,nofail,_netdev "$STORE" "$CLOUD"
cloud_down
works "-o ro" "$CIRRUSFS" mount -o ro "$STORE" "$CLOUD"
says "is a mount for reading only" "*Read-only*" mkdir "$CLOUD/tenants/two"
cloud_down
mkdir "$WORK/bin" && ln -s "$(realpath "$CIRRUSFS")" "$WORK/bin/cirrusfs"
mount --bind "$WORK/bin" /usr/local/sbin	# mount(8) seeks programs in the system's places only
works "mount -t fuse.cirrusfs" mount -t fuse.cirrusfs "$STORE" "$CLOUD" -o noatime
is "serves as well" "$(cat "$CLOUD/tenants/one/enabled")" true
cloud_down
echo "$STORE $CLOUD fuse.cirrusfs defaults,noauto,nofail,_netdev,x-systemd.requires=network.target 0 0" > "$WORK/fstab"
works "a line of fstab" mount -T "$WORK/fstab" "$CLOUD"
is "serves too" "$(cat "$CLOUD/tenants/one/enabled")" true
cloud_down
env --default-signal=INT "$CIRRUSFS" mount -f "$STORE" "$CLOUD" > "$WORK/log" 2>&1 &
front=$!
works "-f serves" until_true 60 test -e "$CLOUD/version"
is "as the process that was started" "$(cloud_pid)" $front
kill -INT $front
wait $front
is "and ends well with SIGINT" $? 0
is "the log went to standard error" "$(grep -c "store $STORE at $CLOUD" "$WORK/log")" 1
is "nothing is mounted" "$(mounted)" 0

# two hosts that are this machine, as older versions took them: libvirt's embedded driver is not opened by two threads at once
cloud_up
put 'create twin uri=test:///default' "$CLOUD/hosts/ctl"
cat "$CLOUD/hosts/twin/wait" > /dev/null
cloud_down
python3 -c '
import sqlite3, sys
db = sqlite3.connect(sys.argv[1])
db.execute("UPDATE host SET uri = \"qemu:///embed\"")
db.commit()' "$STORE/state.db"
cloud_up
works "two hosts that are this machine do no harm" until_true 60 sh -c 'cat "$0"/hosts/*/state | xargs | grep -qx "up up"' "$CLOUD"
cloud_down

# the state of another version
python3 -c '
import sqlite3, sys
db = sqlite3.connect(sys.argv[1])
db.execute("UPDATE meta SET value = 9999 WHERE name = \"schema\"")
db.commit()' "$STORE/state.db"
says "a newer state is refused, with a sentence" "*9999*newer*" "$CIRRUSFS" mount "$STORE" "$CLOUD"
head -c 4096 /dev/urandom > "$STORE/state.db"
rm -f "$STORE"/state.db-*
says "a state that is none is refused" "*state*not a database*" "$CIRRUSFS" mount "$STORE" "$CLOUD"
is "and nothing is mounted" "$(mounted)" 0
finish
