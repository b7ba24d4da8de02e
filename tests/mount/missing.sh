# A machine that lacks something: the mount works, health says what is missing, what needs it fails with a true sentence, and works
# once it is there.
. "$(dirname "$0")/lib.sh"
# programs NAME...: every program of the system in one directory, without those.  The running process sees a change at once.
export CIRRUSFS_PATH=$WORK/programs
mkdir "$CIRRUSFS_PATH"
programs() {
	rm -rf "${CIRRUSFS_PATH:?}"/*
	find /usr/sbin /usr/bin /sbin /bin /usr/local/bin /usr/local/sbin -maxdepth 1 \( -type f -o -type l \) -print0 2> /dev/null |
		xargs -0 ln -sf -t "$CIRRUSFS_PATH" 2> /dev/null
	for name; do rm -f "$CIRRUSFS_PATH/$name"; done
}
back() { for name; do ln -sf "$(command -v "$name")" "$CIRRUSFS_PATH/"; done; }

programs dnsmasq qemu-img qemu-system-x86_64
works "a machine without dnsmasq, qemu and qemu-img: the mount works" cloud_up
cd "$CLOUD" || exit 99
until_true 60 grep -q 'host local' health
like "health names dnsmasq and its package" "$(cat health)" "*dnsmasq*not installed*package dnsmasq-base*"
like "and qemu and its package" "$(cat health)" "*host local is down*qemu-system-x86_64*not installed*package qemu-system-x86*"
is "the host is down" "$(cat hosts/local/state)" down
is "a line each" "$(grep -c . health)" 2
mkdir tenants/acme && cd tenants/acme || exit 99

# networks
works "a network's create is accepted" put 'create lan cidr=10.0.0.0/24' networks/ctl
like "but wait says it failed" "$(timeout 60 cat networks/lan/wait 2>&1)" "*Input/output error*"
is "its status too" "$(cat networks/lan/status)" ERROR
like "error says what is missing" "$(cat networks/lan/error)" "*dnsmasq*not installed*"
like "the collection's error names it" "$(cat networks/error)" "*lan*"
is "nothing of it is left" "$(ip netns list | wc -l)" 0
back dnsmasq
works "the same verb again is accepted once it is there" put create networks/lan/ctl
is "and works" "$(timeout 60 cat networks/lan/wait)" ACTIVE
is "the error is gone" "$(cat networks/lan/error)" ""
rmdir networks/lan
timeout 60 cat networks/wait > /dev/null
rm "$CIRRUSFS_PATH/dnsmasq"
put 'create lan cidr=10.0.0.0/24' networks/ctl
timeout 60 cat networks/lan/wait > /dev/null 2>&1
works "deleting a broken one works" rmdir networks/lan
until_true 60 sh -c '! ls networks/by-id/*'
is "its name is free" "$(ls networks | grep -cx lan)" 0

# images
qemu-img create -q -f qcow2 "$WORK/a.qcow2" 1M
mkdir images/a && cp "$WORK/a.qcow2" images/a/data
like "without qemu-img an image cannot be looked at: wait says so" "$(timeout 60 cat images/a/wait 2>&1)" "*Input/output error*"
is "it is queued again" "$(cat images/a/status)" queued
like "error says what is missing" "$(cat images/a/error)" "*qemu-img*not installed*"
back qemu-img
is "once it is there the same works" "$(cp "$WORK/a.qcow2" images/a/data; timeout 60 cat images/a/wait)" active

# servers
refused "a server finds no host, and why" "ENOSPC tenants/acme/servers/ctl: *local*qemu-system-x86_64*" put 'create s1 flavor=m1.tiny image=a' servers/ctl
is "and leaves nothing behind" "$(ls servers | grep -cx s1)" 0
is "nor does it count" "$(cat usage/instances)" 0

# a host that cannot be reached
mkdir "$CLOUD/hosts/far" && put 'qemu+unix:///system?socket=/nowhere/sock' "$CLOUD/hosts/far/uri"
works "a host that does not answer: create is accepted" put create "$CLOUD/hosts/far/ctl"
timeout 60 cat "$CLOUD/hosts/far/wait" > "$WORK/far" 2>&1
until_true 60 grep -q 'host far' "$CLOUD/health"
like "health says why it is down" "$(cat "$CLOUD/health")" "*host far is down: *nowhere*"
is "its state is down" "$(cat "$CLOUD/hosts/far/state")" down
refused "asked for by name: the sentence says it is down" "*far*down*" put 'create s1 flavor=m1.tiny image=a host=far' servers/ctl
mkdir "$CLOUD/hosts/wrong" && put 'nonsense://' "$CLOUD/hosts/wrong/uri"
put create "$CLOUD/hosts/wrong/ctl"
timeout 60 cat "$CLOUD/hosts/wrong/wait" > /dev/null 2>&1
until_true 60 grep -q 'host wrong' "$CLOUD/health"
like "a URI that is none: health says so" "$(cat "$CLOUD/health")" "*host wrong is down: *nonsense*"
works "it can be deleted" rmdir "$CLOUD/hosts/wrong"
until_true 60 sh -c '! grep -q "host wrong" "$0"' "$CLOUD/health"
is "and leaves health" "$(grep -c 'host wrong' "$CLOUD/health")" 0
works "the other too" rmdir "$CLOUD/hosts/far"

# other things go on
mkdir "$CLOUD/hosts/sim" && put test:///default "$CLOUD/hosts/sim/uri" && put create "$CLOUD/hosts/sim/ctl"
timeout 60 cat "$CLOUD/hosts/sim/wait" > /dev/null
put 'create s1 flavor=m1.tiny image=a host=sim' servers/ctl
is "a simulated host works meanwhile" "$(timeout 60 cat servers/s1/wait)" ACTIVE
back dnsmasq
works "once dnsmasq is there a network is made" put 'create lan cidr=10.0.0.0/24' networks/ctl
is "and becomes ACTIVE" "$(timeout 60 cat networks/lan/wait)" ACTIVE
is "health does not complain of it any more" "$(grep -c dnsmasq "$CLOUD/health")" 0
back qemu-system-x86_64
works "once qemu is there the host comes up by itself" until_true 60 grep -qx up "$CLOUD/hosts/local/state"
works "and health is ok" until_true 60 grep -qx ok "$CLOUD/health"
cd /
cloud_down

# the state as it was left, on a machine that lacks dnsmasq at start
programs dnsmasq
works "a network of before: the mount works without dnsmasq too" "$CIRRUSFS" mount "$STORE" "$CLOUD"
works "health says so" grep -q dnsmasq "$CLOUD/health"
is "the tree is all there" "$(cat "$CLOUD/tenants/acme/servers/s1/status")" ACTIVE
works "and the network can be deleted" rmdir "$CLOUD/tenants/acme/networks/lan"
cd /
cloud_down
# a guests' user that is none
echo 'guest-user = nobody-of-that-name' >> "$STORE/config"
works "no user for guests: the mount works" "$CIRRUSFS" mount "$STORE" "$CLOUD"
like "health says so" "$(cat "$CLOUD/health")" "*no user 'nobody-of-that-name'*guest-user*"
finish
