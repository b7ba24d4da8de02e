# Networks that are damaged mend; servers with several NICs and asked-for addresses; images and networks of other tenants.
. "$(dirname "$0")/lib.sh"
guests_up
ns=$(cat networks/lan/netns)
again() { put stop servers/a/ctl && cat servers/a/wait > /dev/null && put start servers/a/ctl && [ "$(cat servers/a/wait)" = ACTIVE ]; }
asked() { put "create $1 flavor=nano image=tiny network=$2" servers/ctl; }

# several NICs, asked-for addresses
put 'create dmz cidr=192.168.7.0/28' networks/ctl
works "a server on two networks, with an address asked for" put 'create a flavor=nano image=tiny network=lan,address=10.0.0.77 network=dmz' servers/ctl
asked b lan
works "a name that is none for a host" put 'create Web_1.test flavor=nano image=tiny network=lan' servers/ctl
is "becomes one" "$(cat servers/Web_1.test/wait; grep -rh Web -i /run/cirrusfs-dns/*/hosts | cut -d, -f3)" "ACTIVE
web-1-test"
rmdir servers/Web_1.test
cat servers/wait > /dev/null
# each brings the network up with all there are, whoever is first
for i in 1 2 3 4 5 6 7 8; do echo "create m$i flavor=nano image=tiny network=lan"; done > "$WORK/many"
cat "$WORK/many" > servers/ctl
cat servers/wait > /dev/null
is "of many made at once DHCP knows all" "$(grep -ch fa:16 "/run/cirrusfs-dns/$ns/hosts")" 10
for i in 1 2 3 4 5 6 7 8; do echo "delete m$i"; done > servers/ctl
cat servers/wait > /dev/null
works "both become ACTIVE" [ "$(cat servers/a/wait servers/b/wait | xargs)" = "ACTIVE ACTIVE" ]
is "its addresses, in order" "$(cat servers/a/addresses)" "lan 10.0.0.77
dmz 192.168.7.2"
is "its networks are links" "$(cd servers/a/networks && for l in *; do echo "$l $(readlink -f "$l")"; done)" "dmz $CLOUD/tenants/t/networks/dmz
lan $CLOUD/tenants/t/networks/lan"
refused "an address twice" "EBUSY tenants/t/servers/ctl: create c: *10.0.0.77 is taken" asked c lan,address=10.0.0.77
refused "the gateway's" "EBUSY tenants/t/servers/ctl: create c: *10.0.0.1 *gateway*" asked c lan,address=10.0.0.1
for wrong in 10.0.1.5 10.0.0.0 10.0.0.255 192.168.7.5; do
	refused "$wrong is none of this network" "EINVAL tenants/t/servers/ctl: create c: *$wrong *" asked c lan,address=$wrong
done
refused "no address at all" "EINVAL tenants/t/servers/ctl: create c: *" asked c lan,address=ten
refused "a network nobody has" "ENOENT tenants/t/servers/ctl: create c: *no network 'wan'*" asked c wan
fails "nothing was made" ls -d servers/c
is "used-by of the network" "$(sort networks/lan/used-by)" "tenants/t/servers/a
tenants/t/servers/b"

# another tenant: a public image, a shared network
mkdir "$CLOUD/tenants/u"
cd "$CLOUD/tenants/u" || exit 99
refused "another's network is not found" "ENOENT tenants/u/servers/ctl: create x: *no network 'lan'*" asked x lan
refused "nor by its id" "ENOENT tenants/u/servers/ctl: create x: *" asked x "id:$(cat "$CLOUD/tenants/t/networks/lan/id")"
put true "$CLOUD/tenants/t/networks/lan/shared"
is "a shared network is listed for all" "$(readlink "$CLOUD/networks/lan")" ../tenants/t/networks/lan
works "a server of another tenant on it, from the public image" asked x lan
is "becomes ACTIVE" "$(cat servers/x/wait)" ACTIVE
is "its networks, image and address" "$(cat servers/x/network servers/x/image servers/x/addresses)" "lan
tiny
lan 10.0.0.12"
is "its link leads to the other tenant's" "$(readlink -f servers/x/networks/lan)" "$CLOUD/tenants/t/networks/lan"
cd "$CLOUD/tenants/t" || exit 99
is "used-by of the network" "$(sort networks/lan/used-by)" "tenants/t/servers/a
tenants/t/servers/b
tenants/u/servers/x"
is "used-by of the image" "$(sort "$CLOUD/tenants/admin/images/tiny/used-by")" "tenants/t/servers/a
tenants/t/servers/b
tenants/u/servers/x"
is "the host names them all" "$(cd "$CLOUD/hosts/local/servers" && ls -d */* | xargs)" "t/a t/b u/x"
refused "a network with another's server on it stays" "EBUSY tenants/t/networks/lan: *tenants/u/servers/x*" rmdir networks/lan
refused "it stays shared, too" "EBUSY tenants/t/networks/lan/shared: *" put false networks/lan/shared

works "all answer" eval 'answers a && answers b'
works "by both NICs" eval 'says "$(cat networks/dmz/netns)" 192.168.7.2 a'
works "the other tenant's, too" until_true 90 says "$ns" 10.0.0.12 x
is "guests of two tenants on one network see each other" "$(asks b 'cgi-bin/fetch?http://x/')" x

# damage, and what mends it
pkill -9 -x dnsmasq
works "no DHCP" until_true 60 eval '! ps -C dnsmasq -o stat= | grep -v Z'
nft flush ruleset
ip netns exec "$ns" nft flush ruleset
works "stop and start" again
works "the server has DHCP again, on both networks" answers a
is "a dnsmasq for each network" "$(pgrep -xc dnsmasq)" 2
like "the host's table stands" "$(nft list tables)" "*inet cfs*"
like "the network's table stands" "$(ip netns exec "$ns" nft list tables | xargs)" "*table*bridge*"
works "with the guest's tap guarded" eval '[ "$(ip netns exec "$ns" nft list ruleset bridge | grep -c "10.0.0.77")" -ge 1 ]'
works "and those that ran on" eval '[ "$(ip netns exec "$ns" nft list ruleset bridge | grep -c "10.0.0.11")" -ge 1 ]'

ip -n "$ns" link del br0
works "without its bridge: stop and start" again
works "the server answers" answers a
works "and so does who ran on" answers b
works "and another tenant's" until_true 90 says "$ns" 10.0.0.12 x

ip -n "$ns" link del out0
umount /run/netns/"$ns"
works "without its name and its link: stop and start" again
works "the server answers" answers a
works "and so does who ran on" answers b
like "the link is there" "$(ip -n "$ns" -4 -o addr show dev out0 2>&1)" "*100.*"

# a tap taken away: only a new start can help that guest
tap=$(ip -n "$ns" -o link | sed -n 's/.*: \(cfs......t[0-9a-z]*\):.*/\1/p' | tail -n 1)	# the newest: that of a
ip -n "$ns" link del "$tap"
works "without a tap: stop and start" again
works "the server answers" answers a

# a mount mends, too
cd / && cloud_down
pkill -9 -x dnsmasq
ip -n "$ns" link del br0
nft flush ruleset
cloud_up && cd "$CLOUD/tenants/t" || exit 99
works "after a mount: who ran on answers" answers b
is "health" "$(cat "$CLOUD/health")" ok
works "everything goes" sh -c 'rmdir servers/a servers/b ../u/servers/x networks/lan networks/dmz'
cat wait "$CLOUD/tenants/u/wait" > /dev/null
is "and is gone" "$(qemus; ls /run/netns "$STORE/servers" "$STORE/networks" | grep -v -e : -e '^$'; nft list tables)" ""
finish
