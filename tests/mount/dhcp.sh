# A guest floods DHCP: thousands of requests with random addresses and client ids.  Others still get theirs, and dnsmasq's memory, leases and log stay small.
# The guests are veth pairs that are filtered as taps are.
# timeout 300
. "$(dirname "$0")/lib.sh"
cloud_up
sim_up
cd "$CLOUD/tenants/acme" || exit 99
for s in bad good; do put "create $s flavor=m1.tiny image=tiny network=lan host=sim" servers/ctl; done
cat wait > /dev/null
cd / && cloud_down && cloud_up && cd "$CLOUD/tenants/acme"	# dnsmasq is not told of simulated guests before
until_true 60 grep -q . /run/cirrusfs-dns/*/hosts
ns=$(cat networks/lan/netns)
mac() { cat "networks/lan/ports/$1-0/mac"; }
bridge=$(ip -n "$ns" -o link show type bridge | sed 's/^[0-9]*: \([^:@]*\).*/\1/')
table=$(ip netns exec "$ns" nft list tables bridge | cut -d' ' -f3)
for s in bad good; do
	ip netns add "$s"
	ip link add "v$s" netns "$ns" type veth peer name eth0 address "$(mac $s)" netns "$s"
	ip -n "$ns" link set "v$s" master "$bridge" up
	ip -n "$s" link set eth0 up
	address=$(sed 's/lan //' servers/$s/addresses)
	ip netns exec "$ns" nft "add element bridge $table taps { v$s }; add element bridge $table macs { v$s . $(mac $s) }; add element bridge $table addrs { v$s . $(mac $s) . $address }; add element bridge $table chaddrs { v$s . 0x$(mac $s | tr -d :) }"
done
dhcp() { ip netns exec "$1" python3 "$TOP/tests/mount/dhcp.py" eth0 "$(mac "$1")" "$2" "${3:-}"; }
works "a guest gets its address" dhcp good lease
is "... its own" "$out" "$(sed 's/lan //' servers/good/addresses)"
pid=$(pgrep -x dnsmasq) log=$STORE/networks/*/dnsmasq.log
memory() { sed -n 's/^VmRSS:[^0-9]*\([0-9]*\).*/\1/p' "/proc/$pid/status"; }
before=$(memory)
dhcp bad flood 20000 > "$WORK/flood" &
flood=$!
for i in 1 2 3 4 5; do
	is "while another floods it still does ($i)" "$(dhcp good lease)" "$(sed 's/lan //' servers/good/addresses)"
done
wait $flood
echo "# flooded: $(cat "$WORK/flood"); dnsmasq $before KiB before, $(memory) KiB after; $(wc -l < "$STORE"/networks/*/leases) leases, $(wc -c < $log) bytes of log"
is "dnsmasq lives" "$(pgrep -x dnsmasq)" "$pid"
is "its memory stays small" "$([ "$(memory)" -lt $((before + 4096)) ] || memory)" ""
is "its leases are those of guests" "$([ "$(wc -l < "$STORE"/networks/*/leases)" -le 2 ] || cat "$STORE"/networks/*/leases)" ""
is "its log stays small" "$([ "$(wc -c < $log)" -lt 2097152 ] || wc -c < $log)" ""
# it declines, and gives back, what another has
gateway=$(ip -n "$ns" -o -4 addr show dev "$bridge" | sed -n 's/.* inet \(10[0-9.]*\).*/\1/p')
ip netns exec bad python3 "$TOP/tests/mount/dhcp.py" eth0 "$(mac bad)" decline "$(mac good),$(sed 's/lan //' servers/good/addresses),$gateway"
is "what another said in its name is not heard" "$(dhcp good lease)" "$(sed 's/lan //' servers/good/addresses)"
is "and the flooding guest gets its own" "$(dhcp bad lease)" "$(sed 's/lan //' servers/bad/addresses)"
finish
