# kill -9 between any two steps of what is done with real guests and networks.  Two ways: a verb that is killed again and again, one step later
# each time, ends as if nothing had been; and a create that is killed is deleted instead.  Nobody waits for a guest to boot.
# timeout 600
. "$(dirname "$0")/lib.sh"
guests_up 'stop-timeout = 1'
T=$CLOUD/tenants/t
audit() { timeout 60 python3 "$TOP/tests/mount/audit.py" "$STORE"; }
settled() { timeout 120 cat "$CLOUD/wait" > /dev/null 2>&1 || echo "it does not come to an end: $(cat "$T"/*/*/task 2> /dev/null | grep -v none)"; }
# mount_until N: mounted; the process dies at place N.  Fails when it died before the mount answered.
mount_until() { CIRRUSFS_STOP=$1 "$CIRRUSFS" mount "$STORE" "$CLOUD" 2> /dev/null; }
lives() { [ -e "$CLOUD/version" ] && return; cloud_gone; umount -l "$CLOUD" 2> /dev/null; return 1; }
leave() { cd /; cloud_down; }

# chain NAME DO THEN WANTED LEAST: DO is killed at the first place, what is left of it at the second, and so on to the end.
chain() {
	leave
	N=1
	mount_until 1 && (cd "$T" && eval "$2"; cat "$CLOUD/wait") > /dev/null 2>&1
	until sleep 0.3; lives; do	# the last place is after the end that was waited for
		N=$((N + 1))
		mount_until $N && cat "$CLOUD/wait" > /dev/null 2>&1
		[ $N -lt 100 ] || break
	done
	said=$(settled; cd "$T" && eval "$3" 2>&1)
	is "$1: killed $((N - 1)) times" "$said" "$4"
	is "$1: nothing is amiss" "$(audit)" ""
	[ $N -ge "$5" ] || report 1 "$1: the places are there" "only $((N - 1))"
}

state='cat servers/a/status servers/a/power servers/a/error | xargs'
chain "create a server" 'server a' "$state" "ACTIVE RUNNING" 14
chain "reboot" 'put reboot servers/a/ctl' "$state" "ACTIVE RUNNING" 18
chain "stop" 'put stop servers/a/ctl' "$state" "SHUTOFF SHUTDOWN" 8
chain "start" 'put start servers/a/ctl' "$state" "ACTIVE RUNNING" 14
chain "create a network" 'put "create wan cidr=10.1.0.0/24" networks/ctl' 'cat networks/wan/status networks/wan/error | xargs' ACTIVE 4
chain "delete a server" 'rmdir servers/a' 'cat usage/instances usage/ports | xargs' "0 0" 6
leave
cloud_up && cd "$T"

# killed in a create, and deleted with its network before anything else is done
N=0 said=
while :; do
	N=$((N + 1))
	put "create n cidr=10.2.0.0/24" networks/ctl && cat networks/n/wait > /dev/null
	leave
	mount_until $N && (cd "$T" && put "create b flavor=nano image=tiny network=n" servers/ctl; cat "$CLOUD/wait") > /dev/null 2>&1
	over=
	lives && over=1 && leave
	cloud_up
	cd "$T" && rmdir servers/b networks/n
	found=$(settled; cat usage/instances usage/ports usage/networks | xargs | grep -v '^0 0 2$'; audit)
	[ -z "$found" ] || said="$said${said:+
}killed at $N: $found"
	[ -n "$over" ] && break
done
is "a create killed at each of $((N - 1)) places and then deleted leaves nothing" "$said" ""
[ $N -ge 14 ] || report 1 "the places are there" "only $((N - 1))"
leave
cloud_up && cd "$T"
chain "delete a network" 'rmdir networks/wan' 'cat usage/networks' 1 6
leave
cloud_up && cd "$T"
put 'purge confirm=t' ctl
is "and nothing is left" "$(settled; audit; qemus; ls "$STORE/servers" "$STORE/networks" | grep -v -e : -e '^$'; nft list tables)" ""
finish
