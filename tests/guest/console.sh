# One sees a guest: its serial port both ways, its log, its screen.
. "$(dirname "$0")/lib.sh"
guests_up 'console-log-max = 64'
ns=$(cat networks/lan/netns)
server a
server off
is "two servers" "$(cat servers/wait)" done
works "the guest answers" answers a
is "a reader" "$(timeout 60 "$CIRRUSFS" console servers/a < <(echo 'echo said $((6 * 7))') | tr -d '\r' | grep -x 'said 42')" "said 42"

# what it uses
figure() { sed -n "s/^cirrusfs_guest_$1{tenant=\"t\",server=\"a\",id=\"$(cat servers/a/id)\"} //p" "$CLOUD/metrics"; }
works "metrics know what it uses" until_true 60 eval '[ -n "$(figure cpu_seconds_total)" ]'
sent=$(figure network_sent_bytes_total)
for i in 1 2 3 4 5; do http "$ns" "$(address a)" > /dev/null; done
works "... and see it work" until_true 60 eval '[ "$(figure network_sent_bytes_total)" -gt $((sent + 500)) ]'
like "diagnostics say the same of one" "$(xargs < servers/a/diagnostics)" "cpu_seconds [0-9]* resident_bytes [1-9]* network_sent_bytes [1-9]*"

# several readers, and Ctrl-C
# a shell has its background commands ignore SIGINT
python3 -c 'import os, signal; signal.signal(signal.SIGINT, signal.SIG_DFL); os.execvp("cat", ["cat", "servers/a/console"])' > "$WORK/one" & one=$!
cat servers/a/console > "$WORK/two" & two=$!
python3 -c 'import os; f = os.open("servers/a/console", os.O_RDONLY); print(len(os.read(f, 10)))' > "$WORK/three" & three=$!
sleep 1
echo 'echo heard $((20 + 3))' > servers/a/console
works "every reader hears what the guest says" until_true 60 eval 'grep -q "^heard 23" "$WORK/one" && grep -q "^heard 23" "$WORK/two" && grep -q . "$WORK/three"'
works "the tree is served meanwhile" timeout 60 ls -l servers/a
kill -INT $one
wait $one
is "Ctrl-C ends a reader" $? 130
echo 'echo still $((20 + 4))' > servers/a/console
works "the other goes on" until_true 60 grep -q "^still 24" "$WORK/two"
works "the log has all of it" grep -q "^still 24" servers/a/console.log
works "stat and cp -r do not wait" timeout 60 cp -r servers/a "$WORK/copy"

# its screen
works "its screen is a picture" eval 'timeout 60 cat servers/a/screen.png > "$WORK/screen.png"'
is "a PNG with a size" "$(file -b "$WORK/screen.png" | sed 's/[0-9]\{3,\}/N/g')" "PNG image data, N x N, 8-bit/color RGB, non-interlaced"
vnc=$(cat servers/a/vnc)
like "vnc is on loopback" "$vnc" "127.0.0.1:59[0-9][0-9]"
password=$(cat servers/a/vnc-password)
is "its password has eight characters" ${#password} 8
rfb() { timeout 60 python3 "$TOP/tests/guest/rfb.py" "$vnc" "$1"; }
is "it lets in who knows the password" "$(rfb "$password")" "RFB 003.008 ok"
is "and nobody else" "$(rfb wrong123; rfb '')" "RFB 003.008 refused
RFB 003.008 refused"
like "the password is in no listing" "$(cat servers/a/json servers/a/spec servers/list servers/json | grep -c "$password")" 0

# a guest that ends ends its readers
put stop servers/off/ctl
cat servers/off/wait > /dev/null
refused "the console of one that is off" "EBUSY tenants/t/servers/off/console: *'off' does not run" cat servers/off/console
refused "its screen" "EBUSY tenants/t/servers/off/screen.png*not run*" cat servers/off/screen.png
is "its screen is nowhere" "$(cat servers/off/vnc)" ""
like "cirrusfs console says why" "$("$CIRRUSFS" console servers/off 2>&1)" "cirrusfs: EBUSY tenants/t/servers/off/console: *does not run"
like "... of what is no server" "$("$CIRRUSFS" console networks/lan 2>&1)" "cirrusfs: networks/lan/console: No such file or directory"

# cirrusfs goes and comes
cd / && kill -9 "$(cloud_pid)" && cloud_gone
cloud_up && cd "$CLOUD/tenants/t" || exit 99
wait $two
is "the console is there after kill -9" "$(timeout 60 "$CIRRUSFS" console servers/a < <(echo 'echo back $((6 * 8))') | tr -d '\r' | grep -x 'back 48')" "back 48"
is "and the screen" "$(rfb "$(cat servers/a/vnc-password)")" "RFB 003.008 ok"

# a flood: the log stays small, what is kept is whole lines of it, and others are served
lines=$(cat servers/a/console.log | wc -l)
timeout 60 cat servers/a/console > "$WORK/flood" & two=$!
echo 'i=0; while [ $i -lt 6000 ]; do echo "flood $i ........................................"; i=$((i+1)); done; echo flooded $((6 * 9))' > servers/a/console
tail -f servers/a/console.log > "$WORK/tail" 2>&1 & tail=$!
works "a flood comes through" until_true 90 grep -q "^flooded 54" "$WORK/flood"
kill $two $tail 2> /dev/null; wait $two $tail 2> /dev/null
works "console.log begins anew" until_true 60 test -s "$STORE"/servers/*/console.log.1
sleep 3
is "and is small ($(stat -c %s servers/a/console.log) and $(stat -c %s servers/a/console.log.1) bytes)" "$(($(stat -c %s servers/a/console.log) <= 70000 && $(stat -c %s servers/a/console.log.1) <= 80000))" 1
works "its end is there" grep -q "^flooded 54" servers/a/console.log
# qemu writes a byte into the log once more when the socket did not take it at once: what is repeated counts once
is "the two are what a reader saw" "$(cat servers/a/console.log.1 servers/a/console.log | python3 -c '
import re, sys
log, saw = sys.stdin.buffer.read(), open(sys.argv[1], "rb").read()
log, saw = (re.sub(rb"(.)\1+", rb"\1", x[:x.rindex(b"flooded 54")]) for x in (log, saw))
n = min(len(log), len(saw))
print("same" if n > 12000 and log[-n:] == saw[-n:] else f"{len(log)} {len(saw)}")' "$WORK/flood")" same
put 'reboot hard' servers/a/ctl
is "a reboot" "$(cat servers/a/wait)" ACTIVE
works "is heard in the same log" until_true 60 grep -q "tiny: ready" servers/a/console.log
fails "with another password" [ "$(cat servers/a/vnc-password)" = "$password" ]

# ends of a guest
cat servers/a/console > "$WORK/last" & one=$!
until_true 60 answers a
echo 'echo these are my last words' > servers/a/console
until_true 60 grep -q 'last words' servers/a/console.log
kill -9 "$(qemus a)"
wait $one
is "the end of the guest is the end of its console" $? 0
works "it is SHUTOFF" [ "$(timeout 60 cat servers/a/wait-for/SHUTOFF)" = SHUTOFF ]
is "and crashed" "$(cat servers/a/power)" CRASHED
like "error says its last words" "$(cat servers/a/error)" "*Z EIO req-* the guest crashed: *its last words: *these are my last words*"
is "wait does not fail for that" "$(cat servers/a/wait)" SHUTOFF
put start servers/a/ctl
is "it starts again" "$(cat servers/a/wait servers/a/power servers/a/error | xargs)" "ACTIVE RUNNING"
is "nothing of it is left" "$(works x put 'purge confirm=t' ctl > /dev/null; cat wait > /dev/null; qemus; ls "$STORE/servers")" ""
finish
