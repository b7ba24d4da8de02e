# The story at the top of design.md, typed in dash and in bash: two tenants with the same addresses at once, and what their guests can reach.
. "$(dirname "$0")/lib.sh"
cloud_up
cd "$CLOUD" || exit 99

# The world outside: 198.51.100.2, reached by this machine's 198.51.100.1.  A listener there, and one on this machine itself.
ip netns add outside
ip link add uplink type veth peer name eth0 netns outside
ip addr add 198.51.100.1/24 dev uplink
ip link set uplink up
ip route add default via 198.51.100.2
ip -n outside addr add 198.51.100.2/24 dev eth0
ip -n outside link set eth0 up
ip -n outside route add default via 198.51.100.1
mkdir "$WORK/www"
echo outside > "$WORK/www/index.html"
ip netns exec outside python3 -u -m http.server -d "$WORK/www" 8000 2> "$WORK/seen" > /dev/null &
python3 -u -m http.server -d "$WORK/www" 8001 > /dev/null 2>&1 &
is "the host's listener answers the outside" "$(until_true 60 http outside 198.51.100.1:8001; http outside 198.51.100.1:8001)" outside

# The script as a person types it; SERVER differs so that the answers do.
cat > "$WORK/story" << 'EOF'
mkdir $CLOUD/tenants/$TENANT && cd $CLOUD/tenants/$TENANT
mkdir images/tiny && cp $TINY images/tiny/data && cat images/tiny/wait
echo 'create lan cidr=10.0.0.0/24' > networks/ctl
echo "create $SERVER flavor=m1.tiny image=tiny network=lan" > servers/ctl
cat servers/$SERVER/wait servers/$SERVER/addresses
echo "create web2 flavor=m9.huge image=tiny network=lan" > servers/ctl
echo $?
head -n 1 $CLOUD/last-error
EOF
told() { # STATUS TENANT
	printf '%s\n' active ACTIVE "lan 10.0.0.11" "$1" \
		"ENOENT tenants/$2/servers/ctl: create web2: no flavor 'm9.huge'; there are m1.tiny m1.small m1.medium m1.large m1.xlarge"
}
export CLOUD TINY
begin=$(ms)
got=$(TENANT=acme SERVER=web1 dash "$WORK/story" 2> "$WORK/dash.err")
note "story to ACTIVE, with the first look at qemu: $(($(ms) - begin)) ms"
like "the story in dash" "$got" "$(told '[12]' acme)"
like "dash says that the write failed" "$(cat "$WORK/dash.err")" "*echo: *I/O error*"
size=$(stat -c %s tenants/acme/servers/web1/console.log)
begin=$(ms)
got=$(TENANT=globex SERVER=shop1 bash "$WORK/story" 2> "$WORK/bash.err")
note "story to ACTIVE: $(($(ms) - begin)) ms"
is "the story in bash" "$got" "$(told 1 globex)"
like "bash says why the write failed" "$(cat "$WORK/bash.err")" "*echo: write error: No such file or directory"

acme=$(cat tenants/acme/networks/lan/netns) globex=$(cat tenants/globex/networks/lan/netns)
until_true 90 says $acme 10.0.0.11 web1
is "the guest answers with its name" "$(http $acme 10.0.0.11)" web1
until_true 90 says $globex 10.0.0.11 shop1
is "another tenant's guest with the same address answers there" "$(http $globex 10.0.0.11)" shop1
is "and the first still answers in its own" "$(http $acme 10.0.0.11)" web1
cd tenants/acme || exit 99
works "console.log says ready" until_true 90 grep -q '^tiny: ready' servers/web1/console.log
works "console.log has grown" [ "$(stat -c %s servers/web1/console.log)" -gt "$size" ]
works "its size is what it holds" exact servers/web1/console.log
works "the guest was given its address, gateway and resolver" grep -q '^tiny: eth0 10.0.0.11/24 gw 10.0.0.1 dns 10.0.0.1 mtu 1500' servers/web1/console.log
is "status, power, host" "$(cat servers/web1/status servers/web1/power servers/web1/host | xargs)" "ACTIVE RUNNING local"
like "launched is a time" "$(cat servers/web1/launched)" "20??-??-??T??:??:??Z"
like "schedule says why" "$(cat servers/web1/schedule)" "local yes *
local chosen"
is "guests are nobody of importance" "$(ps -o user= -p "$(qemus web1)")" libvirt-qemu
is "the port is shown" "$(cat networks/lan/ports/web1-0/address networks/lan/ports/web1-0/device | xargs)" "10.0.0.11 web1"
is "so is who stands on the network" "$(cat networks/lan/used-by)" tenants/acme/servers/web1
is "and on the image" "$(cat images/tiny/used-by)" tenants/acme/servers/web1
refused "an image with a server on it stays" "EBUSY tenants/acme/images/tiny: *servers/web1*" rmdir images/tiny
refused "a network with a server on it stays" "EBUSY tenants/acme/networks/lan: *servers/web1*" rmdir networks/lan

works "a second server on the network" put 'create web2 flavor=m1.tiny image=tiny network=lan' servers/ctl
begin=$(ms)
is "becomes ACTIVE" "$(cat servers/web2/wait)" ACTIVE
note "create to ACTIVE: $(($(ms) - begin)) ms"
until_true 90 says $acme 10.0.0.12 web2
note "create to the first answer: $(($(ms) - begin)) ms"
is "and answers" "$(http $acme 10.0.0.12)" web2
is "it reaches the first by address" "$(asks web2 'cgi-bin/fetch?http://10.0.0.11/')" web1
is "by name" "$(asks web2 'cgi-bin/fetch?http://web1/')" web1
is "by its full name" "$(asks web2 'cgi-bin/fetch?http://web1.openstacklocal/')" web1
is "and the first finds who came later" "$(asks web1 'cgi-bin/fetch?http://web2/')" web2

is "the world outside answers a guest" "$(asks web1 'cgi-bin/fetch?http://198.51.100.2:8000/')" outside
is "which it knows as this machine" "$(sed -n 's/^\(::ffff:\)\?\([0-9.]*\) .*GET.*/\2/p' "$WORK/seen" | sort -u)" 198.51.100.1
is "another tenant's guest reaches it, too" "$(http $globex '10.0.0.11/cgi-bin/fetch?http://198.51.100.2:8000')" outside
link=$(ip -n $acme -4 -o addr show dev out0 2> /dev/null | sed -n 's/.*inet \(100\.[0-9.]*\)\/30.*/\1/p')
for host in 198.51.100.1 "$(ip -4 -o addr | sed -n 's/.*inet \(100\.[0-9.]*\)\/30.*/\1/p' | head -n 1)" 127.0.0.1; do
	like "the host is not reached at $host" "$(asks web1 "cgi-bin/fetch?http://$host:8001/")" "no answer*"
done
works "the link was found" [ -n "$link" ]
WAIT=2
fails "nor from the namespace itself" http $acme 198.51.100.1:8001
fails "one tenant's network does not reach another's link" http $globex "$link"
fails "nor its guests" http $globex 10.0.0.12
ip route add 10.0.0.0/24 via "${link:-100.64.0.2}"
fails "no way in from outside" http outside 10.0.0.11
ip route del 10.0.0.0/24
WAIT=

works "a server goes" rmdir servers/web1
works "and with the last one its network, at once" sh -c 'rmdir servers/web2 && rmdir networks/lan'
is "the tenant comes to rest" "$(cat wait)" ACTIVE
fails "its namespace is gone" test -e /run/netns/$acme
is "the other tenant did not notice" "$(http $globex 10.0.0.11)" shop1
is "nothing ails" "$(cat "$CLOUD/health")" ok
finish
