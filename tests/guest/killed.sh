# qemu and dnsmasq are killed at any time: in a create, a start, a reboot, a stop, a delete, and while nothing happens.  Each task ends in the status it
# promised or says why not, what is shown is what is, and deletion leaves nothing.  Nobody waits for a guest to boot.
# timeout 600
. "$(dirname "$0")/lib.sh"
guests_up 'stop-timeout = 2'
audit() { timeout 60 python3 "$TOP/tests/mount/audit.py" "$STORE"; }
shown() { cat servers/a/status servers/a/power | xargs; }
settle() { timeout 120 cat servers/a/wait > /dev/null 2>&1; }
# assassin SECONDS: from now on, that long after it appeared, each new qemu of the server dies, once.
assassin() {
	old=$(qemus)
	(
		end=$(($(date +%s) + 60))
		while [ "$(date +%s)" -lt $end ]; do
			for q in $(qemus); do
				case " $(echo $old) " in *" $q "*) continue ;; esac
				sleep "$1"
				kill -9 "$q" 2> /dev/null
				exit
			done
			sleep 0.02
		done
	) &
	killer=$!
}
# truth NAME: ACTIVE with a guest, SHUTOFF without, or ERROR with a sentence; the same after a while.
truth() {
	wait $killer 2> /dev/null
	until_true 60 honest
	report $? "$1: $(shown)" "$(cat servers/a/error)" $(qemus)
}
honest() {
	case "$(shown)" in
	"ACTIVE RUNNING") [ "$(qemus | wc -l)" = 1 ] ;;
	"SHUTOFF "*) [ "$(qemus | wc -l)" = 0 ] ;;
	"ERROR RUNNING" | "ERROR PAUSED") false ;;
	"ERROR "*) [ -n "$(cat servers/a/error)" ] && [ "$(qemus | wc -l)" = 0 ] ;;
	*) false ;;
	esac
}
mend() { # whatever it is now: ACTIVE again
	case $(cat servers/a/status) in
	ACTIVE) return ;;
	SHUTOFF) put start servers/a/ctl ;;
	ERROR) put 'reboot hard' servers/a/ctl || put create servers/a/ctl ;;
	esac
	settle
	[ "$(cat servers/a/status)" = ACTIVE ]
}

for after in 0 0.1 0.3 0.6; do
	assassin $after
	server a
	settle
	truth "qemu killed $after s after its birth, in a create"
	works "... and it can be mended" mend
	put stop servers/a/ctl && settle
	assassin $after
	put start servers/a/ctl
	settle
	truth "... in a start"
	mend
	assassin $after
	put 'reboot hard' servers/a/ctl
	settle
	truth "... in a hard reboot"
	works "... and it can be mended" mend
	qemu=$(qemus)
	put stop servers/a/ctl
	sleep $after
	kill -9 $qemu 2> /dev/null
	settle
	is "... in a stop" "$(shown) $(qemus)" "SHUTOFF SHUTDOWN "
	put start servers/a/ctl && settle
	qemu=$(qemus)
	rmdir servers/a
	sleep $after
	kill -9 $qemu 2> /dev/null
	timeout 60 cat servers/wait > /dev/null
	is "... in a deletion: nothing is left" "$(audit)" ""
done

# while nothing happens
server a
settle
kill -9 "$(qemus)"
works "a guest that is killed is SHUTOFF" until_true 60 eval '[ "$(shown | cut -d" " -f1)" = SHUTOFF ]'
works "and starts again" mend
is "nothing is amiss" "$(audit)" ""

# dnsmasq
for when in 'server b network=lan' 'put stop servers/a/ctl' 'put start servers/a/ctl' 'rmdir servers/b'; do
	pkill -9 -x dnsmasq
	eval "$when"
	timeout 120 cat servers/wait > /dev/null
	is "dnsmasq killed before '$when': it is done" "$(cat servers/*/error)" ""
done
(for _ in $(seq 40); do pkill -9 -x dnsmasq; sleep 0.1; done) &
killer=$!
for i in 1 2 3; do put "create n$i cidr=10.$i.0.0/24" networks/ctl; done
timeout 120 cat networks/wait > /dev/null
wait $killer
for i in 1 2 3; do [ "$(cat networks/n$i/status)" = ACTIVE ] || { [ -n "$(cat networks/n$i/error)" ] && put create networks/n$i/ctl; }; done
works "a network whose dnsmasq dies while it is made is ACTIVE or says why, and can be made again" timeout 60 cat networks/wait
is "all are" "$(cat networks/*/status | sort | uniq -c | xargs)" "4 ACTIVE"
pkill -9 -x dnsmasq
rmdir networks/n1 networks/n2 networks/n3 servers/a
timeout 120 cat "$CLOUD/wait" > /dev/null
cd / && cloud_down && cloud_up && cd "$CLOUD/tenants/t"
works "a mount starts what was killed" until_true 60 pgrep -x dnsmasq
until_true 60 eval '[ -z "$(audit)" ]'
is "nothing is left" "$(audit)" ""
finish
