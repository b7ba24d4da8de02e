# timeout 900
# What somebody takes away under a running cloud is named and mended, and guests that work do not notice.
. "$(dirname "$0")/lib.sh"
guests_up "check-interval = 1"
ns=$(cat networks/lan/netns)
health() { cat "$CLOUD/health"; }
drifts() { grep -c " drift $1 .*$2" "$CLOUD/events"; }
# mends NAME WHAT: an event says that WHAT was mended, and health is ok again.
mends() {
	works "$1: it is mended" until_true 60 eval "[ \$(drifts mended '$2') -gt ${before:-0} ]"
	works "$1: health is ok" until_true 60 eval '[ "$(health)" = ok ]'
}
tap_of() { ip -n "$ns" -o link | sed -n 's/^[0-9]*: \(cfs......t[0-9a-z]*\):.*/\1/p' | sort | sed -n "$1p"; }

server a && server b
cat servers/wait > /dev/null
works "two guests answer" eval 'answers a && answers b'
works "what is well is let alone" eval 'sleep 4; [ "$(drifts "[a-zA-Z]*" "")" = 0 ]'
is "health" "$(health)" ok
a=$(address a) b=$(address b)
pids=$(qemus | sort | xargs)

# somebody talks to b all the time: it must not break where only something else does
ip netns exec "$ns" busybox ping "$b" > "$WORK/ping" 2>&1 &
pinger=$!
replies() { grep -c ' bytes from ' "$WORK/ping"; }
silence() { sed -n 's/.* bytes from .* seq=\([0-9]*\) .*/\1/p' "$WORK/ping" | awk '$1 - last > most { most = $1 - last } { last = $1 } END { print most - 1 }'; }

pkill -9 -x dnsmasq
mends "a killed dnsmasq" "dnsmasq does not run"
is "one runs" "$(pgrep -xc dnsmasq)" 1
like "the network's history says so" "$(tail -n 1 networks/lan/history)" "*drift mended *dnsmasq does not run*"

nft flush ruleset
mends "the host's nftables, flushed" "inet cfs"
ip netns exec "$ns" nft flush ruleset
mends "the network's nftables, flushed" "there is no nftables table bridge"
ip netns exec "$ns" nft flush set bridge cirrusfs macs
mends "a guest's guard, emptied" "not guarded"
ip netns exec "$ns" nft flush chain inet cirrusfs postrouting
mends "masquerading, flushed" "a rule of chain postrouting is missing"
ip -n "$ns" link set out0 down
mends "the link to the outside, set down" "is down"
ip -n "$ns" link del out0
mends "the link, deleted" "the link cfs.* is missing"
ip -n "$ns" addr flush dev br0
mends "the gateway's addresses, removed" "the bridge has no address"
echo 0 > /proc/sys/net/ipv4/ip_forward
mends "the host's forwarding, switched off" "ip_forward"
works "b was heard all the time" eval '[ "$(replies)" -gt 5 ] && [ "$(silence)" -lt 15 ]'
note "$(replies) replies, $(silence) s of silence at most"

# the tap of one guest: the other does not notice, and it answers again without a restart
tap=$(tap_of 1)
ip -n "$ns" link del "$tap"
mends "a deleted tap" "the tap $tap is not in $ns"
works "the tap is on the bridge" eval "ip -n $ns -o link show $tap | grep -q 'master br0.*UP'"
works "both guests answer" eval 'answers a && answers b'
works "b was heard meanwhile" eval '[ "$(silence)" -lt 15 ]'
ip -n "$ns" link set "$tap" nomaster
mends "a tap taken from its bridge" "not on the bridge"

ip -n "$ns" link del br0
mends "a deleted bridge" "the bridge br0 is missing"
works "both guests answer" eval 'answers a && answers b'

umount "/run/netns/$ns"; rm -f "/run/netns/$ns"
mends "a namespace's name, taken away" "there is no network namespace"
works "both guests answer" eval 'answers a && answers b'

# the namespace with all that is in it
kill "$pinger"
pkill -9 -x dnsmasq; umount "/run/netns/$ns"; rm -f "/run/netns/$ns"
mends "a namespace, gone with its dnsmasq" "there is no network namespace"
works "both guests answer" eval 'answers a && answers b'
is "they are the same processes" "$(qemus | sort | xargs)" "$pids"
like "the guest's history" "$(cat servers/a/history)" "*drift mended *the tap * made again and given back to its guest*"

# what is there and belongs to nobody
ip netns add "${ns%n*}n99999"
ip link add "$(ip -o link | sed -n 's/^[0-9]*: \(cfs......\)v.*/\1/p' | head -n 1)vzzz" type veth peer name stray0
ip -n "$ns" tuntap add "${tap%t*}tzzz" mode tap
mends "a namespace of no network" "there is no network 99999"
mends "a link of no network" "there is no network 46655"
mends "a tap of no port" "there is no such port"
is "all are gone" "$(ip netns list | grep -c 99999; ip -o link | grep -c zzz; ip -n "$ns" -o link | grep -c zzz)" "0
0
0"

# a guest somebody ends
kill -9 "$(qemus a)"
is "a killed qemu is SHUTOFF at once" "$(timeout 60 cat servers/a/wait-for/SHUTOFF)" SHUTOFF
like "history says so" "$(tail -n 1 servers/a/history)" "*crash ok *"
works "it starts again" eval 'put start servers/a/ctl && [ "$(cat servers/a/wait)" = ACTIVE ]'
works "it answers" answers a

# base files are made again; data that goes is named, and nothing is made up
image=$(ls "$STORE"/images/*.img)
mv "$image" "$WORK/img"
mends "a base file on which disks stand" "its base file is missing, and disks of servers stand on it"
works "it is what it was" cmp "$image" "$WORK/img"
mkdir "$STORE/servers/99999" && echo precious > "$STORE/servers/99999/disk.qcow2"
works "a disk of no server is a line of health" until_true 60 eval 'health | grep -q "servers/99999: there is no such server"'
is "and is let alone" "$(cat "$STORE/servers/99999/disk.qcow2")" precious
rm -r "$STORE/servers/99999"

# behind our back while cirrusfs is away: a guest is paused
cd / && cloud_down
python3 -c '
import glob, json, socket, sys
for path in glob.glob("/run/cirrusfs/*/lib/qemu/domain-*/monitor.sock"):
    s = socket.socket(socket.AF_UNIX)
    s.connect(path)
    f = s.makefile("rw")
    f.readline()
    for command in "qmp_capabilities", "stop":
        f.write(json.dumps({"execute": command}) + "\n")
        f.flush()
        while "return" not in f.readline():
            pass
'
fails "paused guests do not answer" says "$ns" "$b" b
is "fsck asks no guest, and finds nothing" "$("$CIRRUSFS" fsck "$STORE"; echo $?)" "$STORE: clean
0"
before=1
cloud_up && cd "$CLOUD/tenants/t" || exit 99
mends "guests that somebody paused" "its guest is paused and nobody asked for it"
works "both guests answer" eval 'answers a && answers b'
is "status and power" "$(cat servers/*/status servers/*/power | xargs)" "ACTIVE ACTIVE RUNNING RUNNING"
rmdir servers/a servers/b networks/lan
cat wait > /dev/null
is "all is gone" "$(qemus; ls /run/netns "$STORE/servers" "$STORE/networks" | grep -v -e : -e '^$'; nft list tables)" ""
cd / && cloud_down
is "fsck of what is left" "$("$CIRRUSFS" fsck --data "$STORE"; echo $?)" "$STORE: clean
0"
finish
