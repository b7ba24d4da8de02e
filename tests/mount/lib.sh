# Sourced by every test of a mounted tree (tests/mount, tests/guest).  A test file is a shell script: it makes a cloud, says facts, and ends with
# `finish`.  It runs in mount, network and process namespaces of its own (below), so nothing of it is left when it ends, however it ends.
#
#   . "$(dirname "$0")/lib.sh"
#   cloud_up                          # a store in $STORE, mounted at $CLOUD; arguments are lines for its config
#   is "a tenant appears" "$(ls -d $CLOUD/tenants/acme)" "$CLOUD/tenants/acme"
#   fails "ENOENT ... no flavor" sh -c 'echo "create a flavor=none" > ctl'
#   finish

TOP=$(cd "$(dirname "$0")/../.." && pwd)
CIRRUSFS=${CIRRUSFS:-$TOP/build/cirrusfs}
TINY=${TINY:-$TOP/build/guest/tiny.qcow2}

# Once more, alone: as process 1 of its own world (bash reaps what is orphaned there).
if [ -z "${CFS_ALONE:-}" ]; then
	export CFS_ALONE=1
	exec unshare --mount --net --pid --fork --kill-child --propagation private bash "$0" "$@"
fi
mount -t proc proc /proc
mount -t tmpfs tmpfs /run
# what libvirt found out about this machine's qemu: seconds of work that need not be done anew in every test
mkdir -p /run/cirrusfs "$TOP/build/qemu-cache" && mkdir -p -m 711 /run/cirrusfs/qemu-cache && mount --bind "$TOP/build/qemu-cache" /run/cirrusfs/qemu-cache
ip link set lo up
WORK=$(mktemp -d)
chmod 711 "$WORK"
trap 'cd /; umount -l "$CLOUD" 2>/dev/null; rm -rf "$WORK"' EXIT
PATH=/usr/sbin:/usr/bin:/sbin:/bin:$PATH
STORE=$WORK/store
CLOUD=$WORK/cloud
mkdir "$CLOUD"
n=0 bad=0

# cloud_up [LINE...]: makes (or finds) the store and mounts it.
cloud_up() {
	if [ ! -e "$STORE/state.db" ]; then
		"$CIRRUSFS" init "$STORE" > /dev/null || exit 99
		printf 'virt-type = qemu\n' >> "$STORE/config"
	fi
	for line; do printf '%s\n' "$line" >> "$STORE/config"; done
	"$CIRRUSFS" mount "$STORE" "$CLOUD" || exit 99
}
# cloud_down: unmounts and waits for the process.
cloud_down() {
	umount "$CLOUD"
	cloud_gone
}
cloud_pid() { cut -d' ' -f1 "$STORE/lock"; }
cloud_gone() {
	for _ in $(seq 300); do kill -0 "$(cloud_pid)" 2> /dev/null || return 0; sleep 0.1; done
	return 1
}
# cloud_kill: kill -9, then detach the dead mount.
cloud_kill() {
	pid=$(cloud_pid)
	kill -9 "$pid"
	while kill -0 "$pid" 2> /dev/null; do sleep 0.05; done
	umount -l "$CLOUD" 2> /dev/null
}

report() { # STATUS NAME [REMARK...]
	n=$((n + 1))
	name=$2
	if [ "$1" = 0 ]; then echo "ok $n - $name"; else bad=$((bad + 1)); echo "not ok $n - $name"; fi
	shift 2
	for line; do printf '%s\n' "$line" | sed 's/^/#   /'; done
}
# is NAME GOT WANTED: equal texts.
is() { if [ "$2" = "$3" ]; then report 0 "$1"; else report 1 "$1" "got:    $2" "wanted: $3"; fi; }
# like NAME GOT PATTERN: the text matches a shell pattern.
like() { case "$2" in $3) report 0 "$1" ;; *) report 1 "$1" "got:    $2" "wanted: $3" ;; esac; }
# works NAME COMMAND...: exit status 0.
works() { name=$1; shift; if out=$("$@" 2>&1); then report 0 "$name"; else report 1 "$name" "status $?: $out" "$(head -n 1 "$CLOUD/last-error" 2>/dev/null)"; fi; }
# refused NAME PATTERN COMMAND...: it fails, and the newest line of last-error matches.  The command runs in this shell's session.
refused() {
	name=$1 pattern=$2
	shift 2
	if out=$("$@" 2>&1); then report 1 "$name" "it was not refused: $out"; return; fi
	like "$name" "$(head -n 1 "$CLOUD/last-error")" "$pattern"
}
# fails NAME COMMAND...: exit status not 0.
fails() { name=$1; shift; if out=$("$@" 2>&1); then report 1 "$name" "it did not fail: $out"; else report 0 "$name"; fi; }
# put TEXT FILE: one write.
put() { printf '%s\n' "$1" > "$2"; }
# until_true SECONDS COMMAND...: tries again and again.
until_true() {
	end=$(($(date +%s) + $1))
	shift
	until "$@" > /dev/null 2>&1; do
		[ "$(date +%s)" -lt "$end" ] || return 1
		sleep 0.2
	done
}
# exact FILE: its size is what it holds.  One that grows is looked at again until it did not in between.
exact() {
	for _ in $(seq 100); do
		size=$(stat -c %s "$1") held=$(cat "$1" | wc -c)
		[ "$(stat -c %s "$1")" != "$size" ] || break
		sleep 0.1
	done
	echo "$1: $size bytes, of which $held were read"
	[ "$held" = "$size" ]
}
# no_dnsmasq: all are killed, and gone.
no_dnsmasq() { pkill -9 -x dnsmasq; until_true 60 eval '! pgrep -x dnsmasq'; }
# opened N FILE: soon N processes have it open, as those who wait for something in it.
opened() { until_true 60 eval '[ "$(find /proc/[0-9]*/fd -lname "*/'"$2"'" | wc -l)" -ge '"$1"' ]'; }
# http NETNS ADDRESS: what the guest answers.
http() { ip netns exec "$1" curl -s -m 10 "http://$2/"; }
# sim_up: in a mounted cloud the host `sim`, where servers are only simulated, and the tenant acme with the image tiny and the network
# lan; servers go there with host=sim.
sim_up() {
	mkdir "$CLOUD/hosts/sim" "$CLOUD/tenants/acme" "$CLOUD/tenants/acme/images/tiny"
	put test:///default "$CLOUD/hosts/sim/uri"
	put create "$CLOUD/hosts/sim/ctl"
	head -c 1048576 /dev/zero > "$WORK/tiny.raw"
	cp "$WORK/tiny.raw" "$CLOUD/tenants/acme/images/tiny/data"
	put 'create lan cidr=10.0.0.0/24' "$CLOUD/tenants/acme/networks/ctl"
	cat "$CLOUD/wait" > /dev/null || exit 99
}
# sim_key FILE: a public key of no use.
sim_key() { ssh-keygen -q -t ed25519 -N '' -C "${2:-me}" -f "$WORK/key.$$" && cat "$WORK/key.$$.pub" > "$1"; rm -f "$WORK/key.$$" "$WORK/key.$$.pub"; }
# writes FILE: standard input in one write(2) and, as programs do, what was not taken again; prints what each answered.
writes() { python3 -c '
import errno, os, sys
data, fd = sys.stdin.buffer.read(), os.open(sys.argv[1], os.O_WRONLY | os.O_TRUNC)
said = []
while data:
    try:
        n = os.write(fd, data)
    except OSError as e:
        said.append(errno.errorcode[e.errno])
        break
    said.append(str(n))
    data = data[n:]
try:
    os.close(fd)
except OSError as e:
    said.append("close " + errno.errorcode[e.errno])
print(*said)' "$1"; }
finish() {
	echo "1..$n"
	[ "$bad" = 0 ]
	exit
}
