# Garbage into every writable file of a mounted tree, as names, as attributes: the process lives, the tree works, and what was not meant is as it was.
# GARBAGE=2000 writes into each, SEED= again; with a program built by SAN=1 its reports fail the test (make check-san).
# timeout 7200
. "$(dirname "$0")/lib.sh"
GARBAGE=${GARBAGE:-20}
SEED=${SEED:-$(date +%s)}
export ASAN_OPTIONS=use_sigaltstack=0:detect_leaks=0:log_path=$WORK/report UBSAN_OPTIONS=print_stacktrace=1:log_path=$WORK/report
cloud_up 'workers = 4'
sim_up
cd "$CLOUD" || exit 99
put disable hosts/local/ctl
mkdir tenants/keep tenants/keep/images/i && cp "$WORK/tiny.raw" tenants/keep/images/i/data
put 'create lan cidr=10.3.0.0/24 description="what stays"' tenants/keep/networks/ctl
cat tenants/keep/wait > /dev/null
put 'create s flavor=m1.tiny image=i network=lan host=sim metadata/k="a b"' tenants/keep/servers/ctl
cat wait > /dev/null
mkdir tenants/keep/servers/draft
state() { for o in tenants/keep tenants/keep/*/*/; do cat "$o/json" "$o/spec"; done; cat tenants/keep/servers/list tenants/keep/events; }
state > "$WORK/before"
pid=$(cloud_pid)

echo "# SEED=$SEED GARBAGE=$GARBAGE"
python3 "$TOP/tests/mount/garbage.py" "$CLOUD" "$SEED" "$GARBAGE" > "$WORK/found" 2>&1
status=$?
sed 's/^#*/#/' "$WORK/found" | cut -c 1-600 | head -n 30
is "garbage is taken or refused (SEED=$SEED)" "$status" 0
is "the process lives" "$(cloud_pid; kill -0 "$pid"; cat version)" "$pid
$("$CIRRUSFS" --version)"
is "what runs comes to an end" "$(timeout 120 cat wait > /dev/null; echo $?)" "$(timeout 60 cat wait > /dev/null; echo $?)"
works "every file can be read" python3 - "$CLOUD" <<'X'
import os, stat, sys
bad = n = 0
for top, dirs, files in os.walk(os.fsencode(sys.argv[1])):
    for f in files:
        path = top + b'/' + f
        try:
            if stat.S_ISREG(os.lstat(path).st_mode):
                text = open(path, 'rb').read()
                n += 1
                if f not in (b'data', b'user-data', b'user_data', b'console.log'):
                    text.decode()
        except (OSError, UnicodeDecodeError) as e:
            bad += 1
            print(path, e)
sys.exit(bad > 0 or n < 300)
X
is "every json is one" "$(find . -name json ! -path "*/metadata/*" ! -path "*/properties/*" | while read -r f; do python3 -m json.tool "$f" > /dev/null || echo "$f"; done)" ""
is "the tenant beside is what it was" "$(state | diff "$WORK/before" -)" ""
is "the database is sound" "$(python3 "$TOP/tests/mount/audit.py" "$STORE" busy)" ""
cd /
cloud_kill
cloud_up
cd "$CLOUD" || exit 99
timeout 120 cat wait > /dev/null 2>&1
is "after a crash, too" "$(python3 "$TOP/tests/mount/audit.py" "$STORE" busy; state | diff "$WORK/before" -)" ""
for t in tenants/*/; do [ -e "$t/protected" ] && put false "$t/protected"; done
for o in tenants/*/*/*/protected; do [ -e "$o" ] && [ "$(cat "$o")" = true ] && put false "$o"; done
for t in tenants/*/; do put "purge confirm=\"$(basename "$t")\"" "$t/ctl" || head -n 1 last-error; done
works "everything can be purged" timeout 120 cat wait
is "and nothing is left" "$(python3 "$TOP/tests/mount/audit.py" "$STORE")" ""
cd /
works "it ends well" cloud_down
is "no sanitizer said anything" "$(cat "$WORK"/report* 2> /dev/null | head -n 60)" ""
finish
