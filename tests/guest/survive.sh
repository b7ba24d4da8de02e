# Guests live on while cirrusfs is away, however it went; what was being done is done after it came back.
. "$(dirname "$0")/lib.sh"
guests_up
t=$CLOUD/tenants/t
ns=$(cat networks/lan/netns)
state() { cat "servers/$1/status" "servers/$1/power" | xargs; }
becomes() { until_true "$1" eval '[ "$(state '"$2"')" = "'"$3"'" ]'; }
up() { cloud_up && cd "$t"; }
away() { cd / && cloud_down; }
killed() { cd / && kill -9 "$(cloud_pid)" && cloud_gone; }

server a && server b
cat servers/wait > /dev/null
works "two guests answer" eval 'answers a && answers b'
a=$(address a) b=$(address b)
begin=$(ms)
away
is "unmount" $? 0
note "unmount: $(($(ms) - begin)) ms"
works "the guests answer without" eval 'says "$ns" "$a" a && says "$ns" "$b" b'
http "$ns" "$b/cgi-bin/off" > /dev/null
# its qemu stays for libvirt to look at (-no-shutdown): what counts is that it is off
works "one powers itself off" eval 'WAIT=2; until_true 90 eval "! http $ns $b"'
begin=$(ms)
up
is "mount" $? 0
note "mount: $(($(ms) - begin)) ms"
works "the one that went is seen to be SHUTOFF" becomes 5 b "SHUTOFF SHUTDOWN"
is "the other is what it was" "$(state a)" "ACTIVE RUNNING"
like "history says since when it is known" "$(tail -n 1 servers/b/history)" "*Z power-off ok *"
works "start" put start servers/b/ctl
is "works" "$(cat servers/b/wait)" ACTIVE
works "it answers" answers b

killed
is "kill -9 of cirrusfs" $? 0
works "the guests answer without" eval 'says "$ns" "$a" a && says "$ns" "$b" b'
up
is "mount over the dead one" $? 0
is "they are found again" "$(state a; state b)" "ACTIVE RUNNING
ACTIVE RUNNING"
works "stop" put stop servers/a/ctl
is "reaches the guest" "$(cat servers/a/wait)" SHUTOFF
killed
is "killed again, while a guest is off" $? 0
up
is "mount" $? 0
is "it stays off" "$(state a)" "SHUTOFF SHUTDOWN"
works "events of guests that were found again arrive" [ "$(kill -9 "$(qemus b)"; timeout 60 cat servers/b/wait-for/SHUTOFF)" = SHUTOFF ]
works "they go" rmdir servers/a servers/b
cat servers/wait > /dev/null

# kill -9 in the middle of a create
names=
for after in 0.02 0.1 0.2 0.4 0.8; do
	name=k$(echo $after | tr -d .)
	names="$names $name"
	server "$name"
	sleep $after
	killed
	up
	is "a create killed after $after s becomes ACTIVE" "$(timeout 60 cat servers/$name/wait; tail -n +1 servers/$name/error)" ACTIVE
done
for name in $names; do works "$name answers" answers "$name"; done
is "a guest each, no more" "$(qemus | wc -l)" 5
is "a tap each, no more" "$(ip -o link | grep -c ': cfs......t'; ip -n "$ns" -o link | grep -c ': cfs......t')" "0
5"
for name in $names; do rmdir "servers/$name"; done
cat servers/wait > /dev/null

# unmount with tasks running
server u
sleep 0.1
away
is "unmount in a create" $? 0
up
is "mount" $? 0
is "it becomes ACTIVE" "$(timeout 60 cat servers/u/wait)" ACTIVE
works "it answers" answers u
put stop servers/u/ctl
away
is "unmount in a stop" $? 0
up
is "mount" $? 0
is "it is stopped" "$(timeout 90 cat servers/u/wait)" SHUTOFF
put start servers/u/ctl
cat servers/u/wait > /dev/null
rmdir servers/u networks/lan
away
is "unmount in a delete" $? 0
up
is "mount" $? 0
cat wait > /dev/null
is "all is gone" "$(qemus; ls /run/netns "$STORE/servers" "$STORE/networks" | grep -v -e : -e '^$'; nft list tables)" ""
away
is "unmount" $? 0
is "nothing is left mounted" "$(grep -e "$WORK" -e ' /run/cirrusfs/[0-9a-f]\{8\}/' /proc/self/mountinfo)" ""
is "no process is left" "$(ps -eo comm= | grep -E '^(cirrusfs|dnsmasq|qemu)')" ""

# a store below a directory nobody else may enter
mkdir -m 700 "$WORK/private"
STORE=$WORK/private/store
guests_up
ns=$(cat networks/lan/netns)
server p
is "a server of a hidden store" "$(cat servers/p/wait; cat servers/p/error)" ACTIVE
works "it answers" answers p
away
is "unmount" $? 0
works "it answers without" says "$ns" 10.0.0.11 p
up
is "mount" $? 0
is "it is found again" "$(state p)" "ACTIVE RUNNING"
works "and is deleted" rmdir servers/p networks/lan
cat wait > /dev/null
away
is "unmount" $? 0
is "nothing is left mounted" "$(grep -e "$WORK" -e ' /run/cirrusfs/[0-9a-f]\{8\}/' /proc/self/mountinfo)" ""
finish
