# A hypervisor that does not answer holds up its own tasks and nobody else's; tasks end in time, and say what they waited for.
. "$(dirname "$0")/lib.sh"
# The host `slow` does not say how its guests are while $WORK/hang is there; `sim` does.
export CIRRUSFS_FAULT="test:///default?slow@state:*:hang$WORK/hang"
cloud_up 'workers = 2'
sim_up
cd "$CLOUD/tenants/acme" || exit 99
mkdir ../beta
for q in quota/* ../beta/quota/*; do echo -1 > "$q"; done
echo 'create slow uri=test:///default?slow' > ../../hosts/ctl
cat ../../hosts/slow/wait > /dev/null
mkdir ../beta/images/tiny
cp "$WORK/tiny.raw" ../beta/images/tiny/data
cat ../beta/images/tiny/wait > /dev/null
on() { echo "create $2 flavor=m1.tiny image=tiny host=$1"; }
statuses() { tail -n +2 servers/list | grep "^$1" | cut -f3 | sort | uniq -c | xargs; }

# ---- only its own
touch "$WORK/hang"
for i in 1 2 3 4 5 6; do on slow "h$i"; done > servers/ctl
until_true 60 grep -q running servers/h1/task
like "task: verb, step, age, how it is, what is left, what for" "$(cat servers/h1/task)" "create host [0-9]*s running left=[0-9]*s waits for host slow"
is "tasks lists those that run and those that are queued" "$(cut -f 1-4 tasks | tail -n +2 | sort | head -n 3)" "tenants/acme/servers/h1	create	host	running
tenants/acme/servers/h2	create	host	running
tenants/acme/servers/h3	create	queued	queued"
is "with a header" "$(head -n 1 tasks)" "$(printf 'path\tverb\tstep\tstate\tage\tleft\ttries\tuser\trequest\twaits-for')"
is "of all tenants at the top" "$(tail -n +2 "$CLOUD/tasks" | wc -l)" 6
is "none of another's" "$(tail -n +2 ../beta/tasks | wc -l)" 0
on sim other > servers/ctl
is "another host's task goes on" "$(timeout 60 cat servers/other/wait)" ACTIVE
on sim b > ../beta/servers/ctl
is "another tenant's too" "$(timeout 60 cat ../beta/servers/b/wait)" ACTIVE
put 'create lan2 cidr=10.7.0.0/24' networks/ctl
is "networks are made" "$(timeout 60 cat networks/lan2/wait)" ACTIVE
mkdir images/more
cp "$WORK/tiny.raw" images/more/data
is "images are taken" "$(timeout 60 cat images/more/wait)" active
put stop servers/other/ctl
is "and servers elsewhere stopped" "$(timeout 60 cat servers/other/wait)" SHUTOFF
works "all of the tree can be read meanwhile" timeout 60 sh -c 'find "$0" -type f -not -name ctl | grep -v "/data$" | xargs -d "\n" cat > /dev/null' "$CLOUD"
is "none of them moved" "$(statuses h)" "6 BUILD"
cd /
works "umount does not wait for it" umount "$CLOUD"
works "nor does the process" cloud_gone
cloud_up
cd "$CLOUD/tenants/acme" || exit 99
is "the tasks are the next mount's" "$(tail -n +2 tasks | wc -l)" 6
rm "$WORK/hang"
works "they go on when it answers" timeout 60 cat servers/wait
is "to their end" "$(statuses h)" "6 ACTIVE"

# ---- fair: counted, not timed.  500 of one tenant are queued before the one of another, on the same host
touch "$WORK/hang"
for i in $(seq 500); do on slow "many$i"; done > "$WORK/many"
cp "$WORK/many" servers/ctl
until_true 60 sh -c '[ "$(grep -c running tasks)" = 2 ]'
on slow late > ../beta/servers/ctl
until_true 60 grep -q running ../beta/servers/late/task
like "one of another tenant finds a worker at once" "$(cat ../beta/servers/late/task)" "create host * running *"
rm "$WORK/hang"
timeout 100 cat servers/wait ../beta/servers/wait > /dev/null
is "all are made" "$(statuses many)" "500 ACTIVE"
before=$(grep -n 'servers/late create ok' "$CLOUD/events" | cut -d: -f1)
before=$(head -n "$before" "$CLOUD/events" | grep -c 'servers/many.* create ok')
works "500 before it in the queue, $before ended before it" [ "$before" -lt 25 ]

# ---- a log of steps
is "history has a line a step, and the task's line after them" "$(sed -E 's/^( *)[0-9TZ:.-]+ /\1/; s/ (user|duration|looks)=.*//' servers/h1/history | sed -n '1p; /define/,/create/p')" "  host ok
  define ok
  plug ok
  boot ok
create ok"
like "each with when it began and how long it took" "$(grep ' boot ok' servers/h1/history | tail -n 1)" "  20*-*-*T*:*:*.*Z boot ok duration=[0-9]*.[0-9]*s looks=[0-9]*"
touch "$WORK/hang"
put stop servers/h1/ctl
until_true 60 grep -q "stop shutdown" servers/h1/task
like "what hangs is what task names" "$(cat servers/h1/task)" "stop shutdown * running left=* waits for host slow"
rm "$WORK/hang"
is "stopped" "$(timeout 60 cat servers/h1/wait)" SHUTOFF
(for i in $(seq 120); do put start servers/h1/ctl; cat servers/h1/wait; put stop servers/h1/ctl; cat servers/h1/wait; done) > /dev/null
works "a history of 240 actions keeps the steps of the last hundred" [ "$(grep -c '^  ' servers/h1/history)" -lt 700 ]
is "and the line of each" "$(grep -c '^2' servers/h1/history)" 242

# ---- deadlines
cd /
cloud_down
cloud_up 'task-timeout = 3'
cd "$CLOUD/tenants/acme" || exit 99
ls servers | grep many | sed 's/^/delete /' > servers/ctl
works "500 deleted" timeout 100 cat servers/wait
touch "$WORK/hang"
for i in 1 2 3 4 5; do on slow "d$i"; done > servers/ctl
fails "wait says that it failed" timeout 60 cat servers/d1/wait
fails "of all" timeout 60 cat servers/wait
is "all ended, those that could not begin too" "$(statuses d)" "5 ERROR"
like "the sentence names the step and what it waited for" "$(cat servers/d1/error)" "20*Z ETIMEDOUT req-* create: host: it did not end within 3 s; it waits for host slow"
is "or what kept it from beginning" "$(grep -lE 'ETIMEDOUT req-[0-9a-f-]+ create: queued: it could not begin within 3 s; it waits for host slow$' servers/d*/error | wc -l)" 3
like "history has the step that hung" "$(grep -h host servers/d1/history | head -n 1)" "  *Z host ETIMEDOUT duration=* looks=1 waited for host slow"
put stop servers/h2/ctl
fails "stop fails" timeout 60 cat servers/h2/wait
is "and leaves the server as it was" "$(cat servers/h2/status)" ACTIVE
like "with a sentence" "$(cat servers/h2/error)" "*ETIMEDOUT req-* stop: *within 3 s; it waits for host slow"
on sim ok > servers/ctl
is "others are made all the same" "$(timeout 60 cat servers/ok/wait)" ACTIVE
works "what hangs can be deleted" rmdir servers/d1 servers/h3
fails "the names are free" ls -d servers/d1 servers/h3
is "the deletions have no end" "$(sleep 6; tail -n +2 tasks | cut -f 2 | sort | uniq -c | xargs)" "2 delete"
is "health tells of them" "$(grep delete "$CLOUD/health" | sed -E 's/[0-9a-f-]{36}/ID/; s/for [0-9]+ s/for some s/' | sort)" "tenants/acme/servers/by-id/ID: delete has not ended for some s; it is at 'guest' and waits for an earlier step that does not come back
tenants/acme/servers/by-id/ID: delete has not ended for some s; it is at 'guest' and waits for host slow"
put create servers/d2/ctl
fails "nor is one made again while a step of it is away" timeout 60 cat servers/d2/wait
rm "$WORK/hang"
works "when it answers the deletions end" timeout 60 sh -c 'until [ "$(wc -l < tasks)" = 1 ]; do sleep 0.2; done'
is "late answers change nothing" "$(statuses d)" "4 ERROR"
put create servers/d2/ctl
is "the same again works" "$(timeout 60 cat servers/d2/wait)" ACTIVE
put stop servers/h2/ctl
is "stop too" "$(timeout 60 cat servers/h2/wait)" SHUTOFF
ls -d servers/*/ | xargs rmdir
timeout 60 cat servers/wait > /dev/null
is "nothing is left over" "$(cat usage/instances usage/cores usage/ram | xargs)" "0 0 0"
is "health is well" "$(until_true 60 grep -qx ok "$CLOUD/health"; cat "$CLOUD/health")" ok

# ---- a host that takes the connection and says nothing
cd /
python3 -c '
import socket, time
s = socket.socket()
s.bind(("127.0.0.1", 0))
s.listen()
print(s.getsockname()[1], flush=True)
time.sleep(1000)' > "$WORK/port" &
mute=$!
cd "$CLOUD/tenants/acme" || exit 99
until_true 60 test -s "$WORK/port"
put "create mute uri=qemu+tcp://127.0.0.1:$(cat "$WORK/port")/system" ../../hosts/ctl
fails "it is not connected" timeout 60 cat ../../hosts/mute/wait
like "and says so" "$(cat ../../hosts/mute/error)" "*ETIMEDOUT req-* create: connect: it did not end within 3 s; it waits for its hypervisor to answer"
on sim after > servers/ctl
is "servers are made elsewhere" "$(timeout 60 cat servers/after/wait)" ACTIVE
works "it can be deleted" rmdir ../../hosts/mute
works "and is gone" timeout 60 cat ../../hosts/wait
cd /
works "umount" umount "$CLOUD"
works "and the process ends" cloud_gone
kill $mute

# ---- a clock that is set back, and forth
${CC:-gcc} -shared -fPIC -D_GNU_SOURCE -o "$WORK/clock.so" "$TOP/tests/mount/clock.c" || exit 99
shopt -s extglob
echo 0 > "$WORK/off"
sed -i 's/^task-timeout = 3$/task-timeout = 600/' "$STORE/config"
# a preloaded library must not come before the sanitizers' own
asan=$(ldd "$CIRRUSFS" | awk '/libasan/ { print $3 }')
LD_PRELOAD="${asan:+$asan:}$WORK/clock.so" CLOCK_OFF=$WORK/off cloud_up
cd "$CLOUD/tenants/acme" || exit 99
touch "$WORK/hang"
on slow c1 > servers/ctl
until_true 60 grep -q running servers/c1/task
echo -864000 > "$WORK/off"
on sim c2 > servers/ctl
is "ten days back: tasks go on" "$(timeout 60 cat servers/c2/wait)" ACTIVE
like "the new one's time is the clock's" "$(cat servers/c2/created)" "$(date -u -d '10 days ago' +%Y-%m-%dT)*"
like "ages are those that passed" "$(cat servers/c1/task)" "create host @([0-9]|[0-9][0-9])s running left=[56][0-9][0-9]s *"
put stop servers/c2/ctl
is "stop" "$(timeout 60 cat servers/c2/wait)" SHUTOFF
echo 8640000 > "$WORK/off"
put start servers/c2/ctl
is "a hundred days forth: they go on" "$(timeout 60 cat servers/c2/wait)" ACTIVE
sleep 2
like "nothing expires" "$(cat servers/c1/task)" "create host *s running left=5[0-9][0-9]s *"
echo -86400 > "$WORK/off"
rm "$WORK/hang"
is "what hung goes on" "$(timeout 60 cat servers/c1/wait)" ACTIVE
is "history is in order" "$(grep -oE '(create|stop|start) ok' servers/c2/history | xargs)" "create ok stop ok start ok"
is "and can be read: all its durations are short" "$(cat servers/c?/history | grep -vE '^( +20[0-9-]+T[0-9:.]+Z [a-z]+ ok|20[0-9-]+T[0-9:]+Z [a-z]+ ok user=[^ ]+ request=[^ ]+) duration=[0-9]{1,2}\.[0-9]{3}s( |$)')" ""
rmdir servers/c1 servers/c2
works "deletions end" timeout 60 cat servers/wait
cd /
works "and so does the process" cloud_down
finish
