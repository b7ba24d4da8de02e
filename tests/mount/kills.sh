# kill -9 at random moments while several shells create, delete, rename and write: KILLS=200 times, SEED= for the same again.
# timeout 7200
. "$(dirname "$0")/lib.sh"
KILLS=${KILLS:-20}
SEED=${SEED:-$(date +%s)}
cloud_up 'workers = 4'
sim_up
for q in "$CLOUD"/tenants/acme/quota/*; do put -1 "$q"; done
echo "# SEED=$SEED KILLS=$KILLS"
begin=$(date +%s)
works "$KILLS kills (SEED=$SEED) lose nothing and leave nothing half-made" python3 "$TOP/tests/mount/kills.py" "$CIRRUSFS" "$STORE" "$CLOUD" "$SEED" "$KILLS"
printf '%s\n' "$out" | grep '^#'
echo "# $(($(date +%s) - begin)) s"
is "the database is sound" "$(sqlite3 "$STORE/state.db" 'PRAGMA integrity_check')" ok
like "health is well" "$(until_true 60 grep -qx ok "$CLOUD/health"; cat "$CLOUD/health")" ok
put 'purge confirm=acme' "$CLOUD/tenants/acme/ctl"
timeout 120 cat "$CLOUD/wait" > /dev/null
is "all of it goes" "$(python3 "$TOP/tests/mount/audit.py" "$STORE"; ls "$STORE/images" "$STORE/networks" | grep -v -e : -e '^$')" ""
finish
