# timeout 900
# The machine is restarted: guests, namespaces, taps, nftables and /run are gone.  Networks are there again at the next mount, and servers as they were.
. "$(dirname "$0")/lib.sh"
guests_up "check-interval = 2"
t=$CLOUD/tenants/t
state() { cat "$t/servers/$1/status" "$t/servers/$1/power" | xargs; }
# As after a boot: what kernel and /run held is gone, what was on disk is there.  `hard`: cirrusfs had no time to leave.
reboot() {
	local ns link
	cd / || exit 99
	if [ "$1" = hard ]; then cloud_kill; else cloud_down; fi
	pkill -9 -f '^[^ ]*qemu-system.*guest=c-'
	pkill -9 -x dnsmasq
	until ! ps -eo stat=,comm= | grep -qE '^[^Z].*(qemu|dnsmasq)'; do sleep 0.1; done
	for ns in $(ls /run/netns); do umount "/run/netns/$ns"; done
	nft flush ruleset
	ip -o link 2> /dev/null | sed -n 's/^[0-9]*: \(cfs[^:@]*\)[:@].*/\1/p' | while read -r link; do ip link del "$link" 2> /dev/null; done
	umount -l /run/netns 2> /dev/null
	umount -l /run/cirrusfs/*/store 2> /dev/null
	mount -t tmpfs tmpfs /run
	mkdir -p /run/cirrusfs && mkdir -p -m 711 /run/cirrusfs/qemu-cache && mount --bind "$TOP/build/qemu-cache" /run/cirrusfs/qemu-cache
}
up() { "$CIRRUSFS" mount "$STORE" "$CLOUD" && cd "$t"; }
gone() { qemus; pgrep -x dnsmasq; ls /run/netns 2> /dev/null; ip -o link 2> /dev/null | grep cfs; nft list tables; }

put 'create dmz cidr=192.168.7.0/28' networks/ctl
server a && server b && server off
cat servers/wait > /dev/null
put stop servers/off/ctl
is "two run, one is off" "$(cat servers/off/wait; state a; state b)" "SHUTOFF
ACTIVE RUNNING
ACTIVE RUNNING"
works "they answer" eval 'answers a && answers b'
ns=$(cat networks/lan/netns)

reboot
is "nothing is left of what ran" "$(gone)" ""
is "fsck has nothing to say about that" "$("$CIRRUSFS" fsck "$STORE"; echo $?)" "$STORE: clean (networks and guests come with the next mount)
0"
up
is "mount" $? 0
is "wait" "$(timeout 120 cat servers/wait > /dev/null; echo $?)" 0
is "what ran runs, what was off is off" "$(state a; state b; state off)" "ACTIVE RUNNING
ACTIVE RUNNING
SHUTOFF SHUTDOWN"
works "they answer, at their addresses" eval 'answers a && answers b'
is "the networks are there" "$(ip netns list | wc -l; pgrep -xc dnsmasq)" "2
2"
like "history says why" "$(cat servers/a/history)" "*power-off ok *the machine was restarted*start ok user=system*"
is "health" "$(cat "$CLOUD/health")" ok

# cut off by the power, with a task under way
server new
put stop servers/b/ctl
reboot hard
up
is "mount" $? 0
timeout 120 cat servers/wait > /dev/null
is "what was asked for is so" "$(state a; state b; state new)" "ACTIVE RUNNING
SHUTOFF SHUTDOWN
ACTIVE RUNNING"
works "they answer" eval 'answers a && answers new'

# a guest that ended while only cirrusfs was away stays off
cd / && cloud_down
pkill -9 -f "^[^ ]*qemu-system.*uuid $(sqlite3 "$STORE/state.db" "SELECT uuid FROM object WHERE name = 'new'")"
up
works "a guest that ended while cirrusfs was away is off" until_true 60 eval '[ "$(state new)" = "SHUTOFF SHUTDOWN" ]'
is "the other runs" "$(state a)" "ACTIVE RUNNING"

cd / && echo 'resume-guests = false' >> "$STORE/config"
cd "$t" && reboot
up
is "with resume-guests = false what ran is off" "$(timeout 60 cat servers/wait > /dev/null; state a)" "SHUTOFF SHUTDOWN"
works "the networks are there all the same" until_true 60 eval '[ "$(pgrep -xc dnsmasq)" = 2 ] && ip netns exec "$ns" ip -o addr show br0 | grep -q 10.0.0.1/24'
works "start" put start servers/a/ctl
is "works" "$(cat servers/a/wait)" ACTIVE
works "it answers" answers a
rmdir servers/a servers/b servers/off servers/new networks/lan networks/dmz
cat wait > /dev/null
cd / && cloud_down
is "fsck" "$("$CIRRUSFS" fsck "$STORE"; echo $?)" "$STORE: clean
0"
finish
