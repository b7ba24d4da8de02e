# Servers that have no console, screen or log: drafts and simulated ones say so in a sentence, and nothing blocks.
. "$(dirname "$0")/lib.sh"
cloud_up
sim_up
cd "$CLOUD/tenants/acme" || exit 99
put 'create s1 flavor=m1.tiny image=tiny host=sim' servers/ctl
mkdir servers/draft
cat servers/s1/wait > /dev/null
for what in console screen.png; do
	word=${what%.png}
	refused "$what of a simulated one" "EOPNOTSUPP tenants/acme/servers/s1/$what: servers of a test host have no $word" timeout 60 cat servers/s1/$what
	refused "$what of a draft" "EBUSY tenants/acme/servers/draft/$what: server 'draft' is DRAFT and has no $word yet" timeout 60 cat servers/draft/$what
done
refused "writing to its console" "EOPNOTSUPP tenants/acme/servers/s1/console: *" timeout 60 sh -c 'echo x > servers/s1/console'
refused "writing to its screen" "EPERM tenants/acme/servers/s1/screen.png: *" timeout 60 sh -c 'echo x > servers/s1/screen.png'
refused "writing to its password" "EPERM tenants/acme/servers/s1/vnc-password: *" timeout 60 sh -c 'echo x > servers/s1/vnc-password'
is "it has no address, no password, no log" "$(cat servers/s1/vnc servers/s1/vnc-password servers/s1/console.log servers/s1/console.log.1)" ""
is "what blocks or is secret is not listed" "$(ls servers/s1 | grep -cE '^(console|screen.png|vnc-password)$')" 0
is "the log is" "$(ls servers/s1 | grep -c '^console.log')" 2

# cirrusfs console
tool() { timeout 60 "$CIRRUSFS" console "$@" 2>&1 < /dev/null; }
is "of a simulated one" "$(tool servers/s1)" "cirrusfs: EOPNOTSUPP tenants/acme/servers/s1/console: servers of a test host have no console"
is "of its file" "$(tool servers/s1/console)" "cirrusfs: EOPNOTSUPP tenants/acme/servers/s1/console: servers of a test host have no console"
is "of nothing" "$(tool servers/none)" "cirrusfs: servers/none: No such file or directory"
is "outside the cloud" "$(tool "$WORK")" "cirrusfs: $WORK/console: No such file or directory"
like "without a path" "$(tool)" "usage: cirrusfs console *"
like "with two" "$(tool a b)" "usage: cirrusfs console *"
finish
