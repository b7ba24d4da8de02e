# metrics: a text both kinds of readers take, that says what happened, and that waits for nobody.
. "$(dirname "$0")/lib.sh"
cloud_up
sim_up
cd "$CLOUD/tenants/acme" || exit 99
M=$CLOUD/metrics
value() { grep -v '^#' "$M" | grep -F "$1 " | sed 's/.* //'; }
mkdir '../a "b\c'
for i in 1 2 3; do put "create s$i flavor=m1.tiny image=tiny network=lan host=sim" servers/ctl; done
cat servers/wait > /dev/null
# its package starts a service on people's machines, so that make deps does not bring it
command -v promtool > /dev/null && works "promtool finds nothing to say" eval '! promtool check metrics < "$M" 2>&1 | grep .'
works "a reader of the older text takes it" python3 -c 'import sys; from prometheus_client.parser import text_string_to_metric_families as p; assert len(list(p(sys.stdin.read()))) > 20' < "$M"
works "nor does a reader of OpenMetrics" python3 - "$M" <<'X'
import sys
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse
families = {f.name: f for f in parse(open(sys.argv[1]).read())}
assert len(families) > 20, len(families)
X
is "it ends as it should" "$(tail -n 1 "$M")" "# EOF"
is "servers by status" "$(value 'cirrusfs_objects{kind="server",status="ACTIVE"}')" 3
is "tasks by verb and result" "$(value 'cirrusfs_task_duration_seconds_count{kind="server",verb="create",result="ok"}')" 3
is "the host" "$(value 'cirrusfs_host_up{host="sim"}') $(value 'cirrusfs_host_vcpus_used{host="sim"}')" "1 3"
is "what is unlimited has no figure" "$(grep -c 'host="sim"} -' "$M")$(value 'cirrusfs_host_ram_bytes{host="sim"}')" 0
is "all names are ours: who hands the text on has others" "$(grep -v -e '^#' -e '^cirrusfs_' "$M")" ""
works "the process has its figures" [ "$(value cirrusfs_process_open_fds)" -gt 5 ]
before=$(value 'cirrusfs_request_duration_seconds_count{request="mkdir"}')
mkdir images/x images/y
is "requests are counted" $(($(value 'cirrusfs_request_duration_seconds_count{request="mkdir"}') - before)) 2
tx=$(value cirrusfs_state_transactions_total)
put words servers/s1/description
works "transactions, too" [ "$(value cirrusfs_state_transactions_total)" -gt "$tx" ]
rmdir servers/s1
cat servers/wait > /dev/null
is "a deletion moves them" "$(value 'cirrusfs_objects{kind="server",status="ACTIVE"}') $(value 'cirrusfs_task_duration_seconds_count{kind="server",verb="delete",result="ok"}')" "2 1"
works "twenty readers at once" eval 'for i in $(seq 20); do cat "$M" > "$WORK/m$i" & done; wait; for i in $(seq 20); do [ "$(tail -n 1 "$WORK/m$i")" = "# EOF" ] || exit 1; done'
cd / && cloud_down

# a hypervisor that does not answer
touch "$WORK/hang"
CIRRUSFS_FAULT="test:@state:*:hang/$WORK/hang,test:@list:*:hang/$WORK/hang,test:@stats:*:hang/$WORK/hang" cloud_up
works "it waits for no hypervisor" timeout 60 cat "$M"
rm "$WORK/hang"
finish
