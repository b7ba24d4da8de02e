# mount(8), umount(8) and lines of /etc/fstab: what is said there holds, and saying it twice does no harm.
. "$(dirname "$0")/lib.sh"
mkdir "$WORK/bin" && ln -s "$(realpath "$CIRRUSFS")" "$WORK/bin/cirrusfs"
mount --bind "$WORK/bin" /usr/local/bin		# where make install puts it; mount(8) seeks helpers in the system's places only
touch "$WORK/fstab"
mount --bind "$WORK/fstab" /etc/fstab
"$CIRRUSFS" init "$STORE" > /dev/null && echo 'virt-type = qemu' >> "$STORE/config"
mounts() { grep -c " - fuse.cirrusfs " /proc/self/mountinfo; }
fstab() { printf '%s\n' "$@" > /etc/fstab; }
# says NAME PATTERN COMMAND...: it fails, and what it says matches.
says() {
	name=$1 pattern=$2
	shift 2
	if out=$(timeout 60 "$@" 2>&1); then report 1 "$name" "it did not fail: $out"; else like "$name" "$out" "$pattern"; fi
}

fstab "$STORE $CLOUD fuse.cirrusfs defaults,nofail,_netdev,x-systemd.requires=network.target,x-systemd.mount-timeout=60 0 2"
works "mount -a mounts it" mount -a
is "it serves" "$(cat "$CLOUD/tenants/admin/enabled")" true
is "findmnt knows store and kind" "$(findmnt -no SOURCE,FSTYPE "$CLOUD" | tr -s ' ')" "$STORE fuse.cirrusfs"
pid=$(cloud_pid)
works "mount -a once more does nothing" mount -a
works "and again" mount -a
is "it is mounted once" "$(mounts)" 1
is "by the same process" "$(cloud_pid)" "$pid"
works "umount of the place" umount "$CLOUD"
works "ends the process" cloud_gone
works "mount of the place finds its line" mount "$CLOUD"
says "mount of a place that is mounted says so" "*mounted at $CLOUD already*" mount "$CLOUD"
works "umount -a of the kind" umount -a -t fuse.cirrusfs
cloud_gone
works "mount of the store finds its line too" mount "$STORE"
is "and serves" "$(cat "$CLOUD/tenants/admin/enabled")" true
cloud_down

# noauto, ro, user
fstab "$STORE $CLOUD fuse.cirrusfs noauto,ro,user 0 0"
works "noauto: mount -a leaves it" mount -a
is "nothing is mounted" "$(mounts)" 0
works "until it is asked for" mount "$CLOUD"
for name in "mkdir tenants/two" "rmdir flavors/m1.tiny" "touch tenants/admin/description" "mv flavors/m1.tiny flavors/m1.wee" "ln -s x flavors/x"; do
	# shellcheck disable=SC2086  # words
	says "ro: $name is refused" "*Read-only file system*" sh -c 'cd "$0" && "$@"' "$CLOUD" $name
done
says "ro: a write to a control file is" "*Read-only file system*" sh -c 'echo x > "$0"' "$CLOUD/tenants/admin/description"
says "ro: a command is" "*Read-only file system*" sh -c 'echo create tenants/two > "$0"' "$CLOUD/ctl"
is "ro: reading works" "$(cat "$CLOUD/tenants/admin/enabled" "$CLOUD/tenants/wait")" "$(printf 'true\ndone')"
works "mount -o remount,rw" mount -o remount,rw "$CLOUD"
works "lets writes through" mkdir "$CLOUD/tenants/two"
works "mount -o remount,ro" mount -o remount,ro "$CLOUD"
says "stops them" "*Read-only file system*" mkdir "$CLOUD/tenants/three"
is "no process came or went" "$(mounts) $(kill -0 "$(cloud_pid)" && echo lives)" "1 lives"
cloud_down
says "remount of what is not mounted" "*no cloud is mounted at $CLOUD*" mount -o remount,ro "$CLOUD"
says "nor by hand" "*no cloud is mounted at $CLOUD*" "$CIRRUSFS" mount -o remount,ro "$STORE" "$CLOUD"
says "user: still only root may" "*only root may mount*" setpriv --reuid 65534 --regid 65534 --clear-groups mount "$CLOUD"

# other ways to write it
ln -s "$STORE" "$WORK/link"
fstab "$WORK/link/ $CLOUD/ fuse.cirrusfs nofail 0 0"
works "the store by a link, slashes at the end" mount -a
works "twice" mount -a
is "is mounted once" "$(mounts)" 1
cloud_down
mkdir "$WORK/my store" "$WORK/my cloud"
"$CIRRUSFS" init "$WORK/my store" > /dev/null && echo 'virt-type = qemu' >> "$WORK/my store/config"
fstab "$WORK/my\\040store $WORK/my\\040cloud fuse.cirrusfs nofail 0 0" "$STORE $CLOUD fuse.cirrusfs nofail 0 0"
works "places with blanks, two stores" mount -a
works "twice" mount -a
is "are two clouds" "$(mounts) $(ls "$CLOUD/tenants" "$WORK/my cloud/tenants" | grep -c two)" "2 1"
umount "$WORK/my cloud"
cloud_down
works "mount -t fuse.cirrusfs" mount -t fuse.cirrusfs -o nosuid,nodev,noatime "$STORE" "$CLOUD"
cloud_down
fstab "$WORK/none $CLOUD fuse.cirrusfs nofail 0 0"
says "a store that is not there: the sentence is seen" "*'$WORK/none': No such file or directory*" mount -a
fstab "$STORE $CLOUD fuse.cirrusfs nofail,colour=blue 0 0"
says "an option that is none: it is named" "*colour=blue*" mount -a
is "nothing is left mounted" "$(mounts)" 0
works "findmnt --verify has nothing to say against a line of ours" sh -c "echo '$STORE $CLOUD fuse.cirrusfs nofail 0 0' > /etc/fstab; findmnt --verify"
finish
