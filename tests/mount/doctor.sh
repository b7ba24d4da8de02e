# cirrusfs doctor: a line for everything the cloud needs; what is taken away is found missing, by its own name, and nothing is left behind.
. "$(dirname "$0")/lib.sh"
"$CIRRUSFS" init "$STORE" > /dev/null || exit 99
echo 'virt-type = qemu' >> "$STORE/config"
cp "$STORE/config" "$WORK/config"
# doctor [COMMAND...]: what it says goes to $WORK/said, its status to $status.  COMMAND runs it, in a world that lacks something.
doctor() {
	"$@" "$CIRRUSFS" doctor "$STORE" > "$WORK/said" 2>&1
	status=$?
}
line() { grep -P "\t$1\t" "$WORK/said"; }
# all that could be left of it
world() {
	ip netns list
	ip -o link | sed 's/^[0-9]*: //; s/ mtu.*//'
	nft list ruleset
	grep -v "$WORK" /proc/self/mounts
	ls /run/cirrusfs /run/netns 2> /dev/null
	ls "$STORE"
}
# lacks VERDICT WHAT PATTERN: it says so of that thing, and of nothing else that was well before.
lacks() {
	like "$2 is $1, and why" "$(line "$2")" "$1	$2	$3"
	is "$2: it alone" "$(cut -f 2 "$WORK/said" | paste -sd ' '; grep '^missing' "$WORK/said" | cut -f 2 | grep -vx "$2")" "$all"
	is "$2: the exit status" $status "$([ "$1" = missing ] && echo 1 || echo 0)"
}

world > "$WORK/before"
doctor
is "on this machine nothing is missing" "$status $(grep ^missing "$WORK/said")" "0 "
is "every line is a verdict, a thing and a remark" "$(grep -cvP '^(ok|warning)\t[a-z_.-]+\t[^\t]*$' "$WORK/said")" 0
is "nothing is left of it" "$(world | diff "$WORK/before" -)" ""
all=$(cut -f 2 "$WORK/said" | paste -sd ' ')
for what in fuse qemu kvm qemu-img libvirt guest-user namespaces bridge veth tap nat fib bridge-filter dnsmasq firewall clock disk; do
	is "it looks at $what" "$(cut -f 2 "$WORK/said" | grep -cx "$what")" 1
done
like "KVM is not asked for here" "$(line kvm)" "ok	kvm	*virt-type = qemu*"

# programs
export CIRRUSFS_PATH=$WORK/programs
mkdir "$CIRRUSFS_PATH"
for name in qemu-system-x86_64 qemu-img dnsmasq ip; do ln -s "$(command -v $name)" "$CIRRUSFS_PATH/"; done
without() { rm "$CIRRUSFS_PATH/$1"; doctor; ln -s "$(command -v "$1")" "$CIRRUSFS_PATH/"; }
without dnsmasq
lacks missing dnsmasq "the program dnsmasq is not installed; install the package dnsmasq-base"
without qemu-img
lacks missing qemu-img "the program qemu-img is not installed; install the package qemu-utils"
without qemu-system-x86_64
lacks missing qemu "*qemu-system-x86_64 is not installed; install the package qemu-system-x86"
without ip
lacks warning ip "*install the package iproute2"
printf '#!/bin/sh\necho broken qemu >&2\nexit 1\n' > "$WORK/broken" && chmod +x "$WORK/broken"
ln -sf "$WORK/broken" "$CIRRUSFS_PATH/qemu-system-x86_64"
doctor
lacks missing qemu "run a guest under emulation: *broken qemu*"
printf '#!/bin/sh\nexit 0\n' > "$WORK/broken"
doctor
lacks missing qemu "a guest under emulation ended before it said a word*"
unset CIRRUSFS_PATH

# the kernel and its devices
alone() { # SCRIPT: runs the rest in a mount namespace where that was done before
	script=$1
	shift
	unshare --mount --propagation private sh -c "$script"'; exec "$@"' sh "$@"
}
dev='mount -t tmpfs none /dev && mkdir /dev/net && mknod -m 666 /dev/null c 1 3 && mknod -m 666 /dev/zero c 1 5 && mknod -m 666 /dev/urandom c 1 9 && mknod -m 666 /dev/random c 1 8 && ln -s /proc/self/fd /dev/fd'
doctor alone "$dev && mknod /dev/net/tun c 10 200"
lacks missing fuse "open /dev/fuse: No such file or directory;*modprobe fuse*"
doctor alone "$dev && mknod /dev/fuse c 10 229"
lacks missing tap "open /dev/net/tun: No such file or directory;*modprobe tun*"
doctor alone 'mount --bind /dev/null /dev/fuse'
lacks missing fuse "mount a FUSE file system: *"
doctor alone 'mount -t tmpfs none /usr/lib/*/libvirt/connection-driver'
lacks missing libvirt "*install the packages libvirt-daemon and libvirt-daemon-driver-qemu"
doctor alone 'mount -t tmpfs none /etc/ssl/certs'
lacks warning certificates "*install the package ca-certificates"
doctor alone 'echo 0 > /proc/sys/net/ipv4/ip_forward; mount --bind /proc/sys /proc/sys; mount -o remount,bind,ro /proc/sys'
lacks missing forwarding "ip_forward is off and cannot be set: *"
doctor alone 'echo 0 > /proc/sys/net/ipv4/ip_forward'
like "one that is off and can be set is well" "$(line forwarding)" "ok	*"
is "and stays off" "$(cat /proc/sys/net/ipv4/ip_forward)" 0
doctor setpriv --bounding-set=-net_admin
for what in bridge veth tap nat forwarding; do [ $what = forwarding ] || like "without the right to it: $what" "$(line $what)" "missing	$what	*permitted*"; done
is "something is missing: the exit status" $status 1
doctor setpriv --bounding-set=-sys_admin
like "without CAP_SYS_ADMIN: no namespaces" "$(line namespaces)" "missing	namespaces	make a network namespace: Operation not permitted*"
like "nor FUSE" "$(line fuse)" "missing	fuse	*not permitted*"

# settings
echo 'guest-user = nobody-of-that-name' >> "$STORE/config"
doctor
lacks missing guest-user "there is no user 'nobody-of-that-name'*guest-user in $STORE/config"
cp "$WORK/config" "$STORE/config"
echo 'virt-type = kvm' >> "$STORE/config"
doctor alone "$dev && mknod /dev/fuse c 10 229 && mknod /dev/net/tun c 10 200"
lacks missing kvm "there is no /dev/kvm*"
echo 'virt-type = auto' >> "$STORE/config"
doctor alone "$dev && mknod /dev/fuse c 10 229 && mknod /dev/net/tun c 10 200"
lacks warning kvm "there is no /dev/kvm*emulation*"
cp "$WORK/config" "$STORE/config"
doctor prlimit --nofile=1000:1000
lacks warning open-files "*1000 open files*"
mount -t tmpfs -o size=4m none "$STORE/images"
STORE=$STORE/images doctor
lacks warning disk "* MiB are left for $STORE/images*"
umount "$STORE/images"

# somebody else's firewall
nft 'add table ip filter; add chain ip filter FORWARD { type filter hook forward priority 0; policy drop; }'
doctor
lacks warning firewall "chain FORWARD of nftables' table ip filter drops*"
line firewall | sed 's/.*let them pass: //' > "$WORK/mend"
works "what it says mends it" sh -e "$WORK/mend"
doctor
like "so it is well" "$(line firewall)" "ok	firewall	"
is "by two rules" "$(nft list chain ip filter FORWARD | grep -c 'cfs\*')" 2
nft 'flush ruleset; add table inet fw; add chain inet fw onward { type filter hook forward priority 0; }; add rule inet fw onward iifname "eth0" accept; add rule inet fw onward counter reject'
doctor
lacks warning firewall "chain onward of nftables' table inet fw drops*"
nft 'flush ruleset; add table inet fw; add chain inet fw onward { type filter hook forward priority 0; }; add rule inet fw onward iifname "eth0" drop'
doctor
like "one that drops something else is none of our business" "$(line firewall)" "ok	*"
nft 'flush ruleset; add table ip filter; add chain ip filter DOCKER-USER; add chain ip filter FORWARD { type filter hook forward priority 0; policy drop; }'
doctor
like "Docker's: the rule goes where Docker leaves it" "$(line firewall)" "*nft insert rule ip filter DOCKER-USER iifname 'cfs\*' accept*"
nft flush ruleset

# what it cannot do
no() { "$@" > "$WORK/said" 2>&1; status=$?; }
no setpriv --reuid 65534 --regid 65534 --clear-groups "$CIRRUSFS" doctor
like "not as root" "$status $(cat "$WORK/said")" "2 cirrusfs: only root *"
no "$CIRRUSFS" doctor "$WORK/none"
like "a store that is none" "$status $(cat "$WORK/said")" "2 cirrusfs: $WORK/none: No such file*"
no "$CIRRUSFS" doctor --loud
like "an unknown option" "$status $(cat "$WORK/said")" "2 usage: cirrusfs doctor*"
echo 'colour = blue' >> "$STORE/config"
no "$CIRRUSFS" doctor "$STORE"
like "settings that are wrong" "$status $(cat "$WORK/said")" "2 cirrusfs: *colour*"
is "after all of it nothing is left" "$(sysctl -qw net.ipv4.ip_forward=0; world | diff "$WORK/before" -)" ""

# and what it says of a firewall is true: a network of the cloud, and a server in the world outside
cp "$WORK/config" "$STORE/config"
cloud_up
echo 'create lan cidr=10.0.0.0/24' > "$CLOUD/tenants/admin/networks/ctl"
cat "$CLOUD/tenants/admin/networks/lan/wait" > /dev/null
ns=$(cat "$CLOUD/tenants/admin/networks/lan/netns")
ip netns add world
ip link add up0 type veth peer name eth0 netns world
ip addr add 192.0.2.254/24 dev up0 && ip link set up0 up
ip -n world addr add 192.0.2.1/24 dev eth0 && ip -n world link set eth0 up && ip -n world link set lo up
echo hello > "$WORK/index.html"
ip netns exec world python3 -m http.server -d "$WORK" 80 > /dev/null 2>&1 &
ask() { ip netns exec "$ns" curl -s -m "$1" http://192.0.2.1/; }
until_true 60 ask 5
is "a network reaches the world" "$(ask 20)" hello
nft 'add table ip filter; add chain ip filter FORWARD { type filter hook forward priority 0; policy drop; }'
is "with such a firewall it does not" "$(ask 2)" ""
doctor
line firewall | sed 's/.*let them pass: //' > "$WORK/mend"
sh -e "$WORK/mend"
is "with what doctor says it does" "$(ask 20)" hello
doctor
like "and doctor finds it well, beside a cloud that is mounted" "$(line firewall)" "ok	*"
nft flush table ip filter
is "nothing of the cloud was touched" "$(cat "$CLOUD/health")" ok
cloud_down
finish
