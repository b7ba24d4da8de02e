# Two clouds of one machine start guests at once: each guest has a port of its own for its screen.
# timeout 600
. "$(dirname "$0")/lib.sh"
guests_up
mkdir "$WORK/second"
one=$CLOUD
STORE=$WORK/second-store CLOUD=$WORK/second
guests_up
for c in "$one" "$CLOUD"; do
	for i in 1 2 3 4; do echo "create s$i flavor=nano image=tiny network=lan"; done > "$c/tenants/t/servers/ctl" &
done
wait
is "all servers of one run" "$(cat "$one"/tenants/t/servers/wait "$one"/tenants/t/servers/*/error | xargs)" done
is "and all of the other" "$(cat "$CLOUD"/tenants/t/servers/wait "$CLOUD"/tenants/t/servers/*/error | xargs)" done
is "no two on the same port" "$(cat "$one"/tenants/t/servers/*/vnc "$CLOUD"/tenants/t/servers/*/vnc | sort -u | grep -c '^127.0.0.1:59')" 8
for c in "$one" "$CLOUD"; do rmdir "$c"/tenants/t/servers/s[1-4]; done
is "they go" "$(cat "$one/tenants/t/servers/wait" "$CLOUD/tenants/t/servers/wait" | xargs)" "done done"
cd / && umount "$one"
finish
