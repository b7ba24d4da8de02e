# Tasks go on over a crash, end well or say why, and events, history and usage tell the truth about them.
. "$(dirname "$0")/lib.sh"
cloud_up 'workers = 4'
sim_up
cd "$CLOUD/tenants/acme" || exit 99
for q in quota/*; do echo -1 > "$q"; done
count() { ls "$1" | grep -c "^$2"; }

# events
is "events are lines of seven or eight fields" "$(grep -vE '^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9:]{8}Z [^ ]+ [^ ]+ [a-z:/-]+ (ok|accepted|E[A-Z]+) user=[^ ]+ request=req-[0-9a-f-]+( duration=[0-9.]+s)?$' "$CLOUD/events")" ""
put 'create one flavor=m1.tiny image=tiny network=lan host=sim' servers/ctl
timeout 60 cat servers/one/wait > /dev/null
is "a verb with a task is accepted and then ok" "$(grep ' tenants/acme/servers/one create ' events | cut -d' ' -f5)" "accepted
ok"
is "under one request" "$(grep ' tenants/acme/servers/one create ' events | grep -o 'request=[^ ]*' | sort -u | wc -l)" 1
like "the end says how long it took" "$(grep ' tenants/acme/servers/one create ok' events)" "* duration=*s"
is "who did it" "$(grep -c 'servers/one create accepted user=root ' events)" 1
is "the tenant's events are its own" "$(grep -vc ' acme ' events)" 0
is "and stand in the cloud's too" "$(grep -c ' tenants/acme/servers/one create ' "$CLOUD/events")" 2
like "history has a line" "$(cat servers/one/history)" "* create ok *"
is "the task is none when it is over" "$(cat servers/one/task)" none
timeout 120 sh -c 'head -n 1 "$0"' "$CLOUD/events-follow" > "$WORK/follow" &
following=$!
opened 1 events-follow
(timeout 1 cat "$CLOUD/events-follow" > "$WORK/quiet")
is "events-follow says nothing of what was before" "$(cat "$WORK/quiet")" ""
put stop servers/one/ctl
wait $following
like "and delivers what comes" "$(cat "$WORK/follow")" "* acme tenants/acme/servers/one stop accepted *"
timeout 60 cat servers/one/wait > /dev/null
put start servers/one/ctl
timeout 60 cat servers/one/wait > /dev/null
is "history, oldest first" "$(grep -oE '(create|stop|start) ok' servers/one/history)" "create ok
stop ok
start ok"

# usage and quota
is "usage counts what is there" "$(cat usage/instances usage/cores usage/ram usage/ports usage/networks | xargs)" "1 1 512 1 1"
mkdir servers/draft
is "a draft is not counted" "$(cat usage/instances)" 1
put 'create two flavor=m1.small image=tiny network=lan host=sim' servers/ctl
is "a server is, before it runs" "$(cat usage/instances usage/cores usage/ram usage/ports | xargs)" "2 2 2560 2"
timeout 60 cat servers/wait > /dev/null
put 2 quota/instances
refused "over quota is EDQUOT, with used and limit" "EDQUOT tenants/acme/servers/ctl: *instances: 2 used, 1 asked, limit 2*" put 'create three flavor=m1.tiny image=tiny host=sim' servers/ctl
is "and leaves nothing" "$(count servers three)" 0
is "nor does usage count it" "$(cat usage/instances)" 2
like "the errno is that of the call" "$(sh -c 'exec 2>&1; /bin/echo "create three flavor=m1.tiny image=tiny host=sim" > servers/ctl')" "*quota*"
put 100 quota/instances
put 3 quota/cores
refused "another quota says its name" "EDQUOT *cores: 2 used, 4 asked, limit 3*" put 'create three flavor=m1.large image=tiny host=sim' servers/ctl
put 1 quota/networks
refused "of networks too" "EDQUOT *networks: 1 used, 1 asked, limit 1*" put 'create wan cidr=10.1.0.0/24' networks/ctl
put unlimited quota/cores
is "unlimited is -1" "$(cat quota/cores)" -1
put -1 quota/networks
put -1 quota/instances
rmdir servers/two
timeout 60 cat servers/wait > /dev/null
is "usage is exact after deletions" "$(cat usage/instances usage/cores usage/ram usage/ports | xargs)" "1 1 512 1"
rmdir servers/draft

# ten shells at once
for s in $(seq 10); do
	(for i in $(seq 10); do put "create many$s-$i flavor=m1.tiny image=tiny network=lan host=sim" servers/ctl || echo "$s-$i"; done) > "$WORK/shell$s" 2>&1 &
	shells="$shells $!"
done
wait $shells
is "ten shells create ten servers each: all accepted" "$(cat "$WORK"/shell*)" ""
works "all done" timeout 60 cat servers/wait
is "all ACTIVE" "$(tail -n +2 servers/list | cut -f3 | sort | uniq -c | xargs)" "101 ACTIVE"
is "each with an address of its own" "$(cat servers/many*/addresses | sort -u | wc -l)" 100
is "usage says so" "$(cat usage/instances usage/cores usage/ram usage/ports | xargs)" "101 101 51712 101"
is "each has its two events" "$(grep -c 'servers/many.* create' events)" 200
ls servers | grep many | sed 's/^/delete /' > "$WORK/deletes"
works "a hundred deletions in one write" cp "$WORK/deletes" servers/ctl
works "all gone" timeout 60 cat servers/wait
is "usage is exact again" "$(cat usage/instances usage/cores usage/ram usage/ports | xargs)" "1 1 512 1"

# fifty by ten shells at once, deleted by ten at once while they are being built
shells=
for s in $(seq 10); do
	(for i in $(seq 5); do put "create fifty$s-$i flavor=m1.tiny image=tiny network=lan host=sim" servers/ctl || echo "$s-$i"; done) > "$WORK/shell$s" 2>&1 &
	shells="$shells $!"
done
wait $shells
is "fifty created by ten shells: all accepted" "$(cat "$WORK"/shell*)$(ls servers | grep -c fifty)" 50
shells=
for s in $(seq 10); do
	(for i in $(seq 5); do rmdir "servers/fifty$s-$i" || echo "$s-$i"; done) > "$WORK/shell$s" 2>&1 &
	shells="$shells $!"
done
wait $shells
is "and deleted by ten: accepted, the names free" "$(cat "$WORK"/shell*)$(ls servers | grep -c fifty)" 0
works "all gone" timeout 60 cat servers/wait
is "nothing of them is counted" "$(cat usage/instances usage/cores usage/ram usage/ports | xargs)" "1 1 512 1"
is "tasks has no line left" "$(cat tasks)" "$(printf 'path\tverb\tstep\tstate\tage\tleft\ttries\tuser\trequest\twaits-for')"

# a task that fails
mkdir images/late
put "md5:$(printf %032d 0)" images/late/hash
head -c 100000 /dev/urandom > "$WORK/late"
cp "$WORK/late" images/late/data
timeout 60 cat images/late/wait > /dev/null 2>&1
like "a failed task: error has time, errno, request and a sentence" "$(cat images/late/error)" "20[0-9][0-9]-*Z EBADMSG req-* upload: *md5*"
like "history too" "$(cat images/late/history)" "* upload EBADMSG *"
is "events too" "$(grep -c 'images/late upload EBADMSG' events)" 1
put "md5:$(md5sum < "$WORK/late" | cut -d' ' -f1)" images/late/hash
is "the same again works" "$(cp "$WORK/late" images/late/data; timeout 60 cat images/late/wait)" active
is "and takes the error away" "$(cat images/late/error)" ""
rmdir images/late

# kill -9 in the middle
for i in $(seq 50); do echo "create crash$i flavor=m1.tiny image=tiny network=lan host=sim"; done > "$WORK/creates"
works "fifty creates in one write" cp "$WORK/creates" servers/ctl
cd /
cloud_kill
cloud_up
cd "$CLOUD/tenants/acme" || exit 99
is "kill -9 right after: none is lost" "$(count servers crash)" 50
timeout 60 cat servers/wait > /dev/null
is "all become ACTIVE" "$(grep ^crash servers/list | cut -f3 | sort | uniq -c | xargs)" "50 ACTIVE"
is "addresses are all different" "$(cat servers/crash*/addresses | sort -u | wc -l)" 50
is "usage is exact" "$(cat usage/instances usage/cores usage/ports | xargs)" "51 51 51"
is "events survive the crash" "$(grep -c 'servers/crash.* create accepted' events)" 50
is "every create ended once" "$(grep -c 'servers/crash.* create ok' events)" 50
is "what ran before runs" "$(cat servers/one/power servers/one/status | xargs)" "RUNNING ACTIVE"

# deletions interrupted
ls servers | grep crash | sed 's/^/delete /' > "$WORK/deletes"
works "fifty deletions in one write" cp "$WORK/deletes" servers/ctl
cd /
cloud_kill
cloud_up
cd "$CLOUD/tenants/acme" || exit 99
is "kill -9 right after: the names are gone" "$(count servers crash)" 0
works "the deletions end" timeout 60 cat servers/wait
is "usage is exact then" "$(cat usage/instances usage/cores usage/ports | xargs)" "1 1 1"

# unmounted with tasks running
cp "$WORK/creates" servers/ctl
cd /
works "umount with tasks running" umount "$CLOUD"
works "and the process ends" cloud_gone
cloud_up
cd "$CLOUD/tenants/acme" || exit 99
timeout 60 cat servers/wait > /dev/null
is "what was accepted is done after the next mount" "$(grep ^crash servers/list | cut -f3 | sort | uniq -c | xargs)" "50 ACTIVE"
put 'purge confirm=acme' ctl
cd "$CLOUD" || exit 99
timeout 60 cat tenants/acme/servers/wait tenants/acme/networks/wait tenants/acme/images/wait > /dev/null
is "purge takes it all" "$(cat tenants/acme/usage/instances tenants/acme/usage/ports tenants/acme/usage/networks | xargs)" "0 0 0"
is "health is well at the end" "$(until_true 60 grep -qx ok health; cat health)" ok
is "no namespace is left" "$(ip netns list | grep -c cfs)" 0
finish
