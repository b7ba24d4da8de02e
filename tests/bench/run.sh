#!/bin/bash
# What things cost, beside what they have to cost: NAME<TAB>VALUE<TAB>UNIT<TAB>REFERENCE<TAB>RATIO, both sides in this run, on one CPU, medians.
# No figure passes or fails.  N=1000 servers on a simulated host (the goal is said for 10000); B=DIR where the program was built.
N=${N:-1000}
K=${K:-5}	# runs of which the median is taken
export N K
here=$(cd "$(dirname "$0")" && pwd)
if [ -z "${CFS_ALONE:-}" ]; then
	B=${B:-$here/../../build}
	mkdir -p "$B/bench"
	CC=${CC:-gcc}
	$CC -O2 -DFUSE_USE_VERSION=314 -D_GNU_SOURCE -o "$B/bench/memfs" "$here/memfs.c" $(pkg-config --cflags --libs fuse3) -pthread || exit 2
	$CC -O2 -D_GNU_SOURCE -pthread -o "$B/bench/probe" "$here/probe.c" $(pkg-config --cflags --libs libvirt sqlite3) || exit 2
	export BENCH=$(cd "$B/bench" && pwd) CIRRUSFS=${CIRRUSFS:-$(cd "$B" && pwd)/cirrusfs}
	taskset -cp 0 $$ > /dev/null	# all of it, both sides
fi
. "$here/../mount/lib.sh"
MEM=$WORK/mem
mkdir "$MEM"
trap 'cd /; umount -l "$CLOUD" "$MEM" 2>/dev/null; rm -rf "$WORK"' EXIT

micros() { local a=$EPOCHREALTIME b; "$@" > /dev/null 2>&1; b=$EPOCHREALTIME; echo $((${b/./} - ${a/./})); }
median() { sort -n | awk '{ v[NR] = $1 } END { print v[int((NR + 1) / 2)] }'; }
# line NAME VALUE UNIT [REFERENCE]
line() { printf '%s\t%s\t%s\t%s\t%s\n' "$1" "$2" "$3" "${4:--}" "$(awk -v a="$2" -v b="${4:-0}" 'BEGIN { if (b > 0) printf "%.2f", a / b; else printf "-" }')"; }
ms() { awk -v v="$1" 'BEGIN { printf "%.1f", v / 1000 }'; }
# both NAME COMMAND: in the cloud and in memory, by turns; the first pass apart.
both() {
	local name=$1 a=() b=() i
	shift
	for ((i = 0; i <= K; i++)); do
		a+=("$(cd "$CLOUD/tenants/acme" && micros bash -c "$*")")
		b+=("$(cd "$MEM/tenants/acme" && micros bash -c "$*")")
	done
	line "$name, first" "$(ms "${a[0]}")" ms "$(ms "${b[0]}")"
	line "$name, again" "$(ms "$(printf '%s\n' "${a[@]:1}" | median)")" ms "$(ms "$(printf '%s\n' "${b[@]:1}" | median)")"
}

# ---- a cloud with N servers on a host that is none
cloud_up
cd "$CLOUD" || exit 99
echo false > hosts/local/enabled
echo 'create sim uri=test:///default' > hosts/ctl
cat hosts/sim/wait > /dev/null
mkdir tenants/acme
for q in instances cores ram; do echo -1 > tenants/acme/quota/$q; done
mkdir tenants/acme/images/tiny
cp "$TINY" tenants/acme/images/tiny/data
[ "$(cat tenants/acme/images/tiny/wait)" = active ] || { echo "the image: $(cat tenants/acme/images/tiny/error)"; exit 99; }
cd tenants/acme || exit 99
for ((i = 1; i <= N; i++)); do echo "create s$i flavor=m1.tiny image=tiny"; done > "$WORK/lines"
t=$(micros bash -c "cat $WORK/lines > servers/ctl")
[ "$(ls servers | grep -c '^s[0-9]')" = "$N" ] || { echo "not all were made: $(head -n 1 "$CLOUD/last-error")"; exit 99; }
line "create lines, $N in bulk" "$((N * 1000000 / t))" 1/s
w=$(micros cat servers/wait)
line "create to ACTIVE, $N simulated" "$(awk -v n="$N" -v t="$((t + w))" 'BEGIN { printf "%.0f", n * 1e6 / t }')" 1/s

# ---- a new process: its start, its memory
cd /
cloud_down
t=$(micros bash -c "$CIRRUSFS mount $STORE $CLOUD && cat $CLOUD/tenants/acme/servers/s1/status")
line "mount to first answer, $N servers" "$(ms "$t")" ms
until grep -q "connected\|^up" "$CLOUD/hosts/sim/state" 2> /dev/null; do sleep 0.2; done
sleep 3
rss() { awk '/^VmRSS/ { print $2 }' "/proc/$(cloud_pid)/status"; }
line "memory, idle, $N servers, beside a bare libvirt client" "$(rss)" KiB "$("$BENCH/probe" domains "$N")"

# ---- reading, beside a file system that has everything in memory
"$BENCH/memfs" "$CLOUD" "$MEM" || exit 99
cd /
cloud_down
cloud_up
sleep 3
both "ls" 'ls servers'
both "ls -l" 'ls -l servers'
both "cat servers/*/status" 'cd servers && printf "%s/status\0" s* | xargs -0 cat'
both "cat servers/list" 'cat servers/list'
both "find" 'find .'
line "memory after reading all" "$(rss)" KiB

# ---- durable writes
cd "$CLOUD/tenants/acme/servers" || exit 99
for i in 1 2 3; do "$BENCH/probe" commit "$WORK" 1000; done > "$WORK/c"
for i in 1 2 3; do "$BENCH/probe" write 1000 "$MEM/tenants/acme/servers/s1/description"; done > "$WORK/m"
for i in 1 2 3; do "$BENCH/probe" write 1000 s1/description; done > "$WORK/w"
one=$(median < "$WORK/w")
line "a durable write, beside a FULL commit and its FUSE requests" "$one" us "$(echo "$(median < "$WORK/c") $(median < "$WORK/m")" | awk '{ print $1 + $2 }')"
for i in 1 2 3; do "$BENCH/probe" write 300 s{1..10}/description; done > "$WORK/t"
line "ten writers in ten directories, each write, beside one writer" "$(median < "$WORK/t")" us "$one"

# ---- all of them deleted
sed 's/^create \([^ ]*\).*/delete \1/' "$WORK/lines" > "$WORK/deletes"
t=$(micros bash -c "cat $WORK/deletes > ctl")
line "delete lines, $N in bulk" "$((N * 1000000 / t))" 1/s
w=$(micros cat wait)
line "delete to gone, $N simulated" "$(awk -v n="$N" -v t="$((t + w))" 'BEGIN { printf "%.0f", n * 1e6 / t }')" 1/s
line "memory after deleting all" "$(rss)" KiB
cd /
