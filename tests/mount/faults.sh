# The hypervisor fails or hangs, call by call, all through a server's life: each verb ends as it promises or says the reason (in ERROR; start and
# stop where they began, or where the guest is), the same verb again then works, deletion comes to its end, and nothing is left.
# timeout 900
. "$(dirname "$0")/lib.sh"
cloud_up
sim_up
cd / && cloud_down
T=$CLOUD/tenants/acme

# does VERB WANTED COMMAND...: asked again while it fails for a reason that is true.
does() {
	verb=$1 wanted=$2
	shift 2
	for try in 1 2 3 4 5 6 7 8 9 10; do
		"$@" 2> "$WORK/said" || case $(head -n 1 "$CLOUD/last-error") in
			*injected* | *"host sim is down"* | *"no host"*) sleep 1; continue ;;
			*) echo "$verb is refused: $(head -n 1 "$CLOUD/last-error")"; return ;;
		esac
		timeout 60 cat servers/a/wait > /dev/null 2>&1
		status=$(cat servers/a/status) error=$(cat servers/a/error)
		case "$status $error" in
		"$wanted ") return ;;
		"ERROR 20"*" $verb: "*injected* | "ERROR 20"*" EHOSTDOWN "*" $verb: "*) ;;
		"SHUTOFF 20"*" $verb: "*injected* | "ACTIVE 20"*" $verb: "*injected* | "SHUTOFF 20"*" EHOSTDOWN "*" $verb: "* | "ACTIVE 20"*" EHOSTDOWN "*" $verb: "*)
			case $verb in start | stop) ;; *) echo "after $verb it is $status: $error"; return ;; esac ;;
		*) echo "after $verb it is $status: $error"; return ;;
		esac
		case $verb in
		create) set -- put create servers/a/ctl ;;
		esac
		case $error in *EHOSTDOWN*) sleep 1 ;; esac
	done
	echo "$verb does not come to $wanted: $status $error"
}
life() {
	does create ACTIVE put "create a flavor=m1.tiny image=tiny network=lan host=sim" servers/ctl
	does reboot ACTIVE put 'reboot hard' servers/a/ctl
	does stop SHUTOFF put stop servers/a/ctl
	case $(cat servers/a/status) in SHUTOFF) does start ACTIVE put start servers/a/ctl ;; esac
	rmdir servers/a
	timeout 60 cat servers/wait > /dev/null
	cat usage/instances usage/ports | xargs | grep -v '^0 0$'
}
# with FAULT: a life under it; what is wrong is printed.  HIT: the fault came to pass.
with() {
	: > "$STORE/log"
	CIRRUSFS_FAULT=$1 cloud_up
	cd "$T" || exit 99
	found=$(life 2>&1; until_true 60 grep -qx ok "$CLOUD/health" || cat "$CLOUD/health")
	grep -q ': injected\|: .*: injected' "$STORE/log" && HIT=1 || HIT=
	cd / && cloud_down
	found=$found$(timeout 60 python3 "$TOP/tests/mount/audit.py" "$STORE")
	[ -z "$found" ] || echo "$1: $found" >> "$WORK/found"
}

# a host that cannot even be asked what it is
CIRRUSFS_FAULT=info:1:EIO cloud_up
works "a host that says nothing of itself is down" until_true 60 grep -qx down "$CLOUD/hosts/sim/state"
like "and health says why" "$(cat "$CLOUD/health")" "*host sim is down: injected EIO of call 1*"
cd "$T" || exit 99
refused "nothing is placed there" "ENOSPC *create a: no host can take it: *sim: down: injected EIO of call 1" put 'create a flavor=m1.tiny image=tiny network=lan host=sim' servers/ctl
cd / && cloud_down

for op in start resume destroy state alive; do
	: > "$WORK/found"
	nth=0 missed=0 last=0
	while [ $missed -lt 2 ] && [ $nth -lt 60 ]; do
		nth=$((nth + 1))
		with "$op:$nth:EIO"
		if [ -n "$HIT" ]; then missed=0 last=$nth; else missed=$((missed + 1)); fi
	done
	is "$op fails, each of $last calls" "$(cat "$WORK/found")" ""
	[ $last -gt 0 ] || report 1 "$op fails" "it was never called"
	: > "$WORK/found"
	for nth in $(seq 1 $([ $last -gt 10 ] && echo 6 || echo 1) $last); do
		with "$op:$nth:doneEIO"
		with "$op:$nth:hang500"
	done
	is "$op is done and said to have failed, or hangs" "$(cat "$WORK/found")" ""
done
: > "$WORK/found"
for op in start resume destroy; do with "$op:1:EIO,$op:2:EIO,$op:3:doneEIO,state:7:EIO"; done
is "several in a row" "$(cat "$WORK/found")" ""
finish
