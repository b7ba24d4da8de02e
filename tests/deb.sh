#!/bin/bash
# timeout 3600
# The package on a bare Debian (make check-deb): what it depends on is enough to mount and to run a guest, nothing starts by itself, and
# removing it leaves what is mounted, and the store, alone.  DEBS: where the package is; TINY: the tiny guest.
if [ -z "${CFS_ALONE:-}" ]; then
	export CFS_ALONE=1
	exec unshare --mount --pid --fork --kill-child --propagation private bash "$0" "$@"
fi
mount -t proc proc /proc
WORK=$(mktemp -d)
ROOT=$WORK/root
trap 'cd /; umount -lq "$ROOT"; rm -rf --one-file-system "$WORK"' EXIT
n=0 bad=0
report() { n=$((n + 1)); name=$2; if [ "$1" = 0 ]; then echo "ok $n - $name"; else bad=$((bad + 1)); echo "not ok $n - $name"; fi; shift 2; for line; do printf '%s\n' "$line" | sed 's/^/#   /'; done; }
is() { if [ "$2" = "$3" ]; then report 0 "$1"; else report 1 "$1" "got:    $2" "wanted: $3"; fi; }
works() { name=$1; shift; if out=$("$@" 2>&1); then report 0 "$name"; else report 1 "$name" "status $?: $(tail -n 5 <<< "$out")"; fi; }

is "lintian has nothing against it but its address" "$(lintian --allow-root --suppress-tags bogus-mail-host,bogus-mail-host-in-debian-changelog "$DEBS"/*.changes 2>&1 | grep -v 'root privileges')" ""
mmdebstrap --quiet --variant=minbase bookworm "$ROOT" || { echo "Bail out! no bare Debian"; exit 1; }
# a machine's /proc, /sys, /dev and /run, as they are below no service manager
mount --bind "$ROOT" "$ROOT" && mount -t proc proc "$ROOT/proc" && mount -t sysfs sysfs "$ROOT/sys" && mount -t tmpfs none "$ROOT/run"
mount -t tmpfs none "$ROOT/dev" && mkdir "$ROOT"/dev/{net,pts,shm} && mount -t devpts -o newinstance,ptmxmode=666 devpts "$ROOT/dev/pts"
for node in "null 1 3" "zero 1 5" "full 1 7" "random 1 8" "urandom 1 9" "tty 5 0" "fuse 10 229" "net/tun 10 200"; do
	# shellcheck disable=SC2086  # words
	set -- $node
	mknod -m 666 "$ROOT/dev/$1" c "$2" "$3"
done
ln -s pts/ptmx "$ROOT/dev/ptmx" && ln -s /proc/self/fd "$ROOT/dev/fd" && ln -s /proc/self/fd/0 "$ROOT/dev/stdin" && ln -s /proc/self/fd/1 "$ROOT/dev/stdout"
cp -L /etc/resolv.conf "$ROOT/etc/resolv.conf"
cp "$DEBS"/cirrusfs_*.deb "$ROOT/root/"
cp "$TINY" "$ROOT/root/tiny.qcow2"
in_root() { chroot "$ROOT" env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root DEBIAN_FRONTEND=noninteractive "$@"; }
# its network is the host's only while packages are fetched
unshare --net sh -c 'ip link set lo up; exec sleep infinity' &
HOLDER=$!
alone() { nsenter --net=/proc/$HOLDER/ns/net chroot "$ROOT" env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root DEBIAN_FRONTEND=noninteractive "$@"; }
processes() { for p in /proc/[0-9]*; do [ "$(readlink "$p/root")" = "$ROOT" ] && tr '\0' ' ' < "$p/cmdline" && echo; done; }
until_true() { for _ in $(seq "$1"); do "${@:2}" > /dev/null 2>&1 && return; sleep 1; done; false; }
gone() { ! processes | grep -q 'cirrusfs '; }

in_root apt-get -qq update > "$WORK/apt.log" 2>&1
works "apt installs it on a bare Debian, with what it needs and no more" in_root sh -c 'apt-get -qq install -y --no-install-recommends /root/cirrusfs_*.deb'
is "dpkg finds it whole" "$(in_root dpkg --audit; in_root dpkg --verify cirrusfs)" ""
is "nothing was started" "$(processes)" ""
is "nothing is enabled" "$(find "$ROOT/etc/systemd" -name 'cirrusfs*' | head -n 1)" ""
is "there is a user for guests" "$(in_root id -un libvirt-qemu)" libvirt-qemu
is "and he is in the group that uses KVM" "$(in_root id -Gn libvirt-qemu | tr ' ' '\n' | grep -cx kvm)" 1
is "the manual is there" "$(in_root dpkg -L cirrusfs | grep -c '/man[157]/cirrusfs')" "$(in_root cirrusfs help man | wc -l)"

works "doctor: nothing is missing" alone cirrusfs doctor
alone cirrusfs doctor | grep -v '^ok' | sed 's/^/# /'
works "init" alone cirrusfs init
echo 'virt-type = qemu' >> "$ROOT/var/lib/cirrusfs/config"
mkdir "$ROOT/cloud"
works "mount" alone cirrusfs mount /cloud
works "mkdir makes a tenant" alone mkdir /cloud/tenants/acme
works "health is ok" until_true 60 alone grep -qx ok /cloud/health
works "umount" umount "$ROOT/cloud"
until_true 30 gone
echo '/var/lib/cirrusfs /cloud fuse.cirrusfs nofail 0 0' >> "$ROOT/etc/fstab"
works "a line of fstab mounts it" alone mount -a
works "twice" alone mount -a
is "the tenant is there" "$(alone sh -c 'cd /cloud/tenants && ls -d */' | paste -sd ' ')" "acme/ admin/"

# a guest
cat > "$ROOT/root/guest" << 'SCRIPT'
set -e
cd /cloud/tenants/acme
mkdir images/tiny && cp /root/tiny.qcow2 images/tiny/data && cat images/tiny/wait
echo 'create lan cidr=10.0.0.0/24' > networks/ctl
echo 'create web1 flavor=m1.tiny image=tiny network=lan' > servers/ctl
cat servers/web1/wait
SCRIPT
cat > "$ROOT/root/ask" << 'SCRIPT'
cd /cloud/tenants/acme
ip netns exec "$(cat networks/lan/netns)" timeout 10 bash -c 'exec 3<>/dev/tcp/$0/80 && printf "GET / HTTP/1.0\r\n\r\n" >&3 && cat <&3' \
	"$(cut -d" " -f2 servers/web1/addresses)" | grep web1
SCRIPT
is "a real guest starts" "$(alone bash /root/guest 2>&1 | paste -sd ' ')" "active ACTIVE"
works "it answers" until_true 120 alone bash /root/ask
works "umount leaves it alone" umount "$ROOT/cloud"
until_true 30 gone
is "its qemu runs on" "$(processes | grep -c qemu-system)" 1
works "mounted again it is found" alone mount /cloud
works "and answers" until_true 30 alone bash /root/ask

# upgrade and removal, mounted
works "installing it again, mounted" in_root sh -c 'dpkg -i /root/cirrusfs_*.deb'
is "the cloud goes on" "$(alone cat /cloud/tenants/acme/servers/web1/status)" ACTIVE
works "removing it, mounted" in_root apt-get -qq remove -y cirrusfs
is "the cloud goes on" "$(alone cat /cloud/tenants/acme/servers/web1/status)" ACTIVE
works "a server is deleted" alone rmdir /cloud/tenants/acme/servers/web1
works "and its guest goes" until_true 60 sh -c '! ls /proc/*/exe -l 2> /dev/null | grep -q qemu-system'
works "umount" umount "$ROOT/cloud"
until_true 30 gone
find "$ROOT/var/lib/cirrusfs" -type f ! -name 'log' ! -name 'lock' -exec md5sum {} + | sort > "$WORK/store"
works "purge" in_root apt-get -qq purge -y cirrusfs
is "leaves the store as it is" "$(find "$ROOT/var/lib/cirrusfs" -type f ! -name 'log' ! -name 'lock' -exec md5sum {} + | sort | diff "$WORK/store" -)" ""
is "and nothing else" "$(find "$ROOT"/{etc,usr,lib/systemd} -name '*cirrusfs*')" ""
works "installed once more" in_root sh -c 'dpkg -i /root/cirrusfs_*.deb'
works "the store is mounted" alone mount /cloud
is "and has what it had" "$(alone ls /cloud/tenants/acme/networks | grep -cx lan)" 1
umount "$ROOT/cloud"
until_true 30 gone
kill $HOLDER
echo "1..$n"
[ "$bad" = 0 ]
