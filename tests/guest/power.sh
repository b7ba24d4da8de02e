# Stop, start, reboot, and what a guest does by itself; deleting in every state leaves nothing.
. "$(dirname "$0")/lib.sh"
guests_up 'stop-timeout = 3'
ns=$(cat networks/lan/netns)
last() { tail -n 1 "servers/$1/history"; }
do_() { put "$2" "servers/$1/ctl" && cat "servers/$1/wait"; }
booted() { [ "$(grep -c '^tiny: ready' "servers/$1/console.log")" = "$2" ]; }
off_at_once() { begin=$(ms); [ "$(timeout 60 cat "servers/$1/wait-for/SHUTOFF")" = SHUTOFF ] && [ $(($(ms) - begin)) -lt 20000 ]; }	# much sooner than the next comparison of all guests
state() { cat "servers/$1/status" "servers/$1/power" | xargs; }
ended() { until_true "$1" eval '! grep -q . /proc/'"$2"'/cmdline'; }

# the file their disks stand on is only a cache
cat "$STORE"/images/*.img | md5sum > "$WORK/was" && rm "$STORE"/images/*.img
server a && server b
is "a becomes ACTIVE" "$(cat servers/a/wait)" ACTIVE
is "b becomes ACTIVE" "$(cat servers/b/wait)" ACTIVE
works "they answer" eval 'answers a && answers b'
is "their base file, made anew from the object store, is what it was" "$(cat "$STORE"/images/*.img | md5sum)" "$(cat "$WORK/was")"
until_true 90 booted a 1
until_true 90 booted b 1

# wrong states
refused "start of a running one" "EBUSY tenants/t/servers/a/ctl: start: *ACTIVE*" put start servers/a/ctl
is "nothing came of it" "$(state a)" "ACTIVE RUNNING"
begin=$(ms)
is "stop" "$(do_ a stop)" SHUTOFF
note "stop: $(($(ms) - begin)) ms"
is "power" "$(state a)" "SHUTOFF SHUTDOWN"
like "history" "$(last a)" "*Z stop ok user=root *"
fails "it was not ended by force" grep -q force servers/a/history
is "its qemu is gone" "$(qemus a)" ""
refused "stop of a stopped one" "EBUSY tenants/t/servers/a/ctl: stop: *SHUTOFF*" put stop servers/a/ctl
refused "a soft reboot of a stopped one" "EBUSY tenants/t/servers/a/ctl: reboot: *SHUTOFF*" put reboot servers/a/ctl
works "the console's log is kept" booted a 1
is "start" "$(do_ a start)" ACTIVE
works "it answers again" answers a
works "its log goes on" until_true 90 booted a 2
works "on the disk it had" grep -q '^tiny: boot 2' servers/a/console.log

works "reboot" put reboot servers/a/ctl
is "is REBOOT meanwhile" "$(cat servers/a/status)" REBOOT
refused "and takes nothing else" "EBUSY tenants/t/servers/a/ctl: stop: *" put stop servers/a/ctl
is "then ACTIVE" "$(cat servers/a/wait)" ACTIVE
works "and boots" until_true 90 booted a 3
works "reboot hard" put 'reboot hard' servers/a/ctl
is "is HARD_REBOOT meanwhile" "$(cat servers/a/status)" HARD_REBOOT
is "then ACTIVE" "$(cat servers/a/wait)" ACTIVE
works "and boots" until_true 90 booted a 4
fails "nothing was ended by force" grep -q force servers/a/history

# a qemu that hangs
kill -STOP "$(qemus b)"
timeout 60 cat servers/b/screen.png > /dev/null 2>&1 & picture=$!
sleep 0.5
works "stop of a guest whose qemu hangs" put stop servers/b/ctl
is "ends it all the same" "$(timeout 60 cat servers/b/wait)" SHUTOFF
is "with its process" "$(qemus b)" ""
wait $picture
fails "and the picture somebody waited for" [ $? = 124 ]
like "history says by force" "$(last b)" "*Z stop ok *force*"
put 'start' servers/b/ctl
is "it starts again" "$(cat servers/b/wait)" ACTIVE
works "and answers" answers b

# what guests do
works "the guest is told to power off" [ "$(asks b cgi-bin/off)" = off ]
pid=$(qemus b)
ended 20 "$pid"
works "one that powers itself off is SHUTOFF at once" off_at_once b
is "with its power" "$(state b)" "SHUTOFF SHUTDOWN"
like "history says so" "$(last b)" "*Z power-off ok user=guest *shutdown*"
like "events, too" "$(grep servers/b events | tail -n 1)" "*Z t tenants/t/servers/b power-off ok *"
is "start works again" "$(do_ b start)" ACTIVE
works "and it answers" answers b
kill -9 "$(qemus b)"
works "one whose qemu is killed is SHUTOFF at once" off_at_once b
like "history says so" "$(last b)" "*Z crash ok user=guest *"
is "start works again" "$(do_ b start)" ACTIVE
works "and it answers" answers b

# those who do not listen
begin=$(ms)
works "a guest made deaf" [ "$(asks b cgi-bin/deaf)" = deaf ]
while sleep 0.2; do cat servers/b/task; done > "$WORK/tasks" 2> /dev/null &
watcher=$!
is "is stopped all the same" "$(do_ b stop)" SHUTOFF
kill $watcher
is "what is left is of stop-timeout" "$(sed -n 's/^stop .* left=\([0-9]*\)s .*waits for the guest to power off$/\1/p' "$WORK/tasks" | sort -n | tail -n 1 | grep -cx "[0-3]")" 1
note "stop of a deaf guest: $(($(ms) - begin)) ms"
like "by force, after stop-timeout" "$(last b)" "*Z stop ok *duration=[3-9].* *force*"
do_ b start > /dev/null
begin=$(ms)
is "one that boots is stopped" "$(do_ b stop)" SHUTOFF
took=$(($(ms) - begin))
note "stop of a booting guest: $took ms"
works "within stop-timeout and a little" [ $took -lt 20000 ]
do_ b start > /dev/null
answers b
asks b cgi-bin/deaf > /dev/null
is "a deaf one is rebooted" "$(do_ b reboot)" ACTIVE
like "by force" "$(last b)" "*Z reboot ok *duration=[3-9].* *force*"

# deleting: running, stopping, building, rebooting
where() { basename "$(dirname "$(tr '\0' '\n' < "/proc/$(qemus "$1")/cmdline" | sed -n 's/.*"filename":"\([^"]*disk.qcow2\)".*/\1/p' | head -n 1)")"; }
mac=$(cat networks/lan/ports/a-0/mac) address=$(address a)
works "the reservation stands" grep -rq "$mac,$address" /run/cirrusfs-dns/
row=$(where a)
works "its files stand" test -e "$STORE/servers/$row/disk.qcow2"
answers b
asks b cgi-bin/deaf > /dev/null
put stop servers/b/ctl
sleep 0.5
begin=$(ms)
works "delete one that runs and one that is being stopped" rmdir servers/a servers/b
fails "their names are free" ls -d servers/a servers/b
is "and their ports'" "$(ls -d networks/lan/ports/*-0 2> /dev/null)" ""
is "the rest follows" "$(cat servers/wait)" done
note "delete of a running and a stopping one: $(($(ms) - begin)) ms"
is "no qemu" "$(qemus)" ""
fails "no files" test -e "$STORE/servers/$row"
is "no tap" "$(ip -o link; ip -n "$ns" -o link | grep -c ': cfs')" "$(ip -o link)
0"
put "create c flavor=nano image=tiny network=lan,address=$address" servers/ctl
works "the address is free at once" test -e servers/c
sleep 0.3
works "delete in BUILD" rmdir servers/c
is "ends" "$(timeout 60 cat servers/wait)" done
is "no qemu" "$(qemus)" ""
put "create c flavor=nano image=tiny network=lan,address=$address" servers/ctl
is "the same again, to its end" "$(cat servers/c/wait)" ACTIVE
fails "the old reservation is gone" grep -rq "$mac" /run/cirrusfs-dns/
works "a guest gets the address another had" answers c
put reboot servers/c/ctl
works "delete one that is rebooted, and its network at once" sh -c 'rmdir servers/c && rmdir networks/lan'
is "all goes" "$(timeout 60 cat "$CLOUD/tenants/wait")" done
is "no qemu" "$(qemus)" ""
is "no files" "$(ls "$STORE/servers" "$STORE/networks" | xargs)" "$STORE/networks: $STORE/servers:"
is "no namespace" "$(ls /run/netns)" ""
is "no table of nftables" "$(nft list tables)" ""
is "no process but ours" "$(ps -eo comm= | grep -E '^(dnsmasq|qemu)')" ""
is "usage is 0" "$(cat usage/instances usage/ports usage/networks usage/cores usage/ram | xargs)" "0 0 0 0 0"
is "nothing ails" "$(cat "$CLOUD/health")" ok
finish
