# kill -9 between any two steps of every verb that has a task, at every place one after the other (CIRRUSFS_STOP); then mount: the task ends, the
# outcome is what the verb promises, nothing is left over.
# timeout 900
. "$(dirname "$0")/lib.sh"
cloud_up 'import-hosts = 127.0.0.1'
sim_up
T=$CLOUD/tenants/acme
audit() { timeout 60 python3 "$TOP/tests/mount/audit.py" "$STORE"; }
settled() { timeout 60 cat "$CLOUD/wait" > /dev/null 2>&1 || echo "it does not come to an end: $(cat "$T"/*/*/task 2> /dev/null | grep -v none)"; }
# walk NAME BEFORE DO THEN [WANTED]: BEFORE makes what DO wants (settled before it is done), DO is the verb, THEN prints what became of it.
walk() {
	what=$1 before=$2 verb=$3 after=$4 wanted=$5
	N=0 killed=1 said=
	while [ $killed = 1 ] && [ $N -lt 200 ]; do
		N=$((N + 1))
		cd "$T" && eval "$before" > "$WORK/said" 2>&1
		before_said=$(settled)
		cd / && cloud_down
		killed=0
		if CIRRUSFS_STOP=$N "$CIRRUSFS" mount "$STORE" "$CLOUD" 2> /dev/null; then
			(cd "$T" && eval "$verb"; timeout 60 cat "$CLOUD/wait") > /dev/null 2>&1
		fi
		if [ -e "$CLOUD/version" ]; then cloud_down; else killed=1; cloud_gone; umount -l "$CLOUD"; fi
		cloud_up
		after_said=$(settled)
		cd "$T"
		got=$(eval "$after" 2>&1)
		cd /
		case $got in $wanted) got= ;; esac
		found=$before_said$after_said$got$(audit)
		[ -z "$found" ] || said="$said${said:+
}stopped at $N: $found"
	done
	is "$what: killed at each of $((N - 1)) places" "$said" ""
	# the last place is after the end, where the story may be over first
	[ $N -ge "${6:-4}" ] || report 1 "$what: the places are there" "only $((N - 1))"
}

make='put "create a flavor=m1.tiny image=tiny network=lan host=sim" servers/ctl'
there='[ -e servers/a ] || '$make
state='cat servers/a/status servers/a/power servers/a/addresses servers/a/task servers/a/error | xargs'
runs='ACTIVE RUNNING lan 10.0.0.11 none'
gone='ls servers by-id 2> /dev/null | grep -w a; cat usage/instances usage/cores usage/ram usage/ports | xargs'
walk "create a server" '[ ! -e servers/a ] || rmdir servers/a' "$make" "$state" "$runs" 14
walk "stop" "$there; put start servers/a/ctl" 'put stop servers/a/ctl' "$state" "SHUTOFF SHUTDOWN lan 10.0.0.11 none" 8
walk "start" "$there; put stop servers/a/ctl" 'put start servers/a/ctl' "$state" "$runs" 14
walk "reboot" "$there" 'put reboot servers/a/ctl' "$state" "$runs" 18
walk "reboot hard" "$there; put stop servers/a/ctl" 'put "reboot hard" servers/a/ctl' "$state" "$runs" 18
walk "delete a server" "$there" 'rmdir servers/a' "$gone" "0 0 0 0" 6

walk "create a network" '[ ! -e networks/n ] || rmdir networks/n' 'put "create n cidr=10.1.0.0/24" networks/ctl' \
	'cat networks/n/status networks/n/error networks/n/subnets/subnet-1/cidr | xargs' "ACTIVE 10.1.0.0/24" 4
walk "delete a network" 'put "create m cidr=10.1.0.0/24" networks/ctl' 'rmdir networks/m' 'ls networks | grep -w m; cat usage/networks' 2 6
rmdir "$T/networks/n"
walk "delete a server and its network at once" 'put "create n cidr=10.1.0.0/24" networks/ctl
	put "create b flavor=m1.tiny image=tiny network=n host=sim" servers/ctl' \
	'rmdir servers/b networks/n' '[ ! -e networks/n ] || rmdir networks/n; cat wait > /dev/null
	cat usage/instances usage/networks usage/ports | xargs' "0 1 0" 12

head -c 300000 /dev/urandom > "$WORK/data"
sum=$(md5sum < "$WORK/data" | cut -d' ' -f1)
walk "upload" '[ ! -e images/i ] || rmdir images/i; mkdir images/i' 'cp "$WORK/data" images/i/data' \
	'[ "$(cat images/i/status)" != queued ] || { grep -q EINTR images/i/error && cp "$WORK/data" images/i/data && cat images/i/wait > /dev/null; }
	cat images/i/status images/i/checksum images/i/error | xargs; cmp images/i/data "$WORK/data"' "active $sum" 6
walk "delete an image" '[ -e images/i ] || { mkdir images/i; cp "$WORK/data" images/i/data; }' 'rmdir images/i' 'ls images | grep -w i; ls "$STORE/images" | wc -l' 1 4

mkdir "$WORK/served" && cp "$WORK/data" "$WORK/served/data"
python3 "$TOP/tests/httpd.py" "$WORK/served" "$WORK/log" > "$WORK/port" &
until_true 60 test -s "$WORK/port"
U=http://127.0.0.1:$(cat "$WORK/port")
walk "import" '[ ! -e images/i ] || rmdir images/i' 'put "create i url=$U/data" images/ctl' \
	'cat images/i/status images/i/checksum images/i/error | xargs; cmp images/i/data "$WORK/data"; ls "$STORE/fetch"' "active $sum" 6
walk "delete an image that is being imported" '[ ! -e images/j ] || rmdir images/j' 'put "create j url=$U/data?rate=200000" images/ctl; rmdir images/j' \
	'[ ! -e images/j ] || rmdir images/j; timeout 60 cat wait > /dev/null; ls images | grep -w j; ls "$STORE/fetch"' "" 4

walk "create a host" '[ ! -e "$CLOUD/hosts/h" ] || rmdir "$CLOUD/hosts/h"' 'put "create h uri=test:///default" "$CLOUD/hosts/ctl"' \
	'until_true 60 grep -qx up "$CLOUD/hosts/h/state"; cat "$CLOUD/hosts/h/status" "$CLOUD/hosts/h/state" "$CLOUD/hosts/h/error" | xargs' "ACTIVE up" 4
walk "delete a host" '[ -e "$CLOUD/hosts/h" ] || put "create h uri=test:///default" "$CLOUD/hosts/ctl"' 'rmdir "$CLOUD/hosts/h"' 'ls "$CLOUD/hosts" | grep -w h' "" 4

# what purge and rmdir were not asked any more is asked again
walk "purge a tenant, and delete it" 'mkdir ../p ../p/images/i; put "create w cidr=10.2.0.0/24" ../p/networks/ctl; cp "$WORK/data" ../p/images/i/data
	cat ../p/wait; put "create s flavor=m1.tiny image=i network=w host=sim" ../p/servers/ctl' \
	'put "purge confirm=p" ../p/ctl; cat ../p/wait; rmdir ../p' '[ ! -e ../p ] || { ls ../p/servers ../p/networks ../p/images | grep -wE "s|w|i"; rmdir ../p; }
	cat "$CLOUD/wait" > /dev/null; ls "$CLOUD/tenants" | grep -w p' "" 14
like "health is well at the end" "$(cat "$CLOUD/health")" ok
put 'purge confirm=acme' "$T/ctl"
settled
rmdir "$CLOUD/hosts/sim" "$T"
settled
is "and at the end nothing is left" "$(audit; ls "$STORE/images" "$STORE/fetch" "$STORE/networks" "$STORE/servers" | grep -v -e : -e '^$'; ip netns list; nft list tables)" ""
finish
