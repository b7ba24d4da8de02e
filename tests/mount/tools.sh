# Ordinary programs on the tree: none blocks, none changes anything, all read the truth.
. "$(dirname "$0")/lib.sh"
cloud_up
sim_up
cd "$CLOUD/tenants/acme" || exit 99
sim_key keys/me
mkdir servers/draft
echo '#!/bin/sh' > servers/draft/user-data
echo m1.tiny > servers/draft/flavor
put 'create s1 flavor=m1.tiny image=tiny network=lan host=sim' servers/ctl
put 'create s2 flavor=m1.small image=tiny network=lan host=sim key=me' servers/ctl
put 'create "with blanks" flavor=m1.tiny image=tiny host=sim' servers/ctl
put 'some words' servers/s1/description
cat servers/wait > /dev/null
cd "$CLOUD" || exit 99
mkdir "$WORK/out"
until_true 60 grep -q . hosts/local/hypervisor	# its connection comes late

# Everything a program could have changed, in a few words.
state() {
	cat events | wc -c
	cat tenants/*/spec flavors/spec hosts/spec tenants/*/*/spec tenants/acme/servers/*/spec tenants/acme/images/tiny/spec
	cat tenants/acme/servers/*/status tenants/acme/servers/*/id tenants/acme/servers/draft/user-data
	find tenants | sort
}
state > "$WORK/before"
# calm NAME COMMAND...: it ends within 20 s (what it answers does not matter) and changed nothing.
calm() {
	name=$1
	shift
	timeout -k 1 20 "$@" > "$WORK/said" 2>&1
	status=$?
	[ $status != 124 ] && [ $status != 137 ]
	report $? "$name ends"
	state > "$WORK/after"
	is "$name changes nothing" "$(diff "$WORK/before" "$WORK/after")" ""
	mv "$WORK/after" "$WORK/before"
}
# clean NAME COMMAND...: calm, with exit status 0.
clean() {
	calm "$@"
	is "$1 exits with 0" "$status $(head -n 5 "$WORK/said")" "0 $([ $status = 0 ] && head -n 5 "$WORK/said")"
}

clean "ls -lR" ls -lR .
clean "ls -la of a server" ls -la tenants/acme/servers/s1
clean "grep -r" grep -r ACTIVE .
is "grep -r finds what is there" "$(grep -rlx ACTIVE tenants/acme/servers/s1)" tenants/acme/servers/s1/status
clean "find" find . -type f -newer health
clean "find -exec cat" find . -type f -exec cat {} +
clean "find -L" find -L tenants hosts -maxdepth 6 -name status
clean "du" du -a .
is "du counts no disk space to speak of (KiB)" "$(($(du -sk . | cut -f1) < 2000))" 1
clean "wc" sh -c 'find . -type f -print0 | xargs -0 wc -c'
clean "busybox cat" find tenants/acme flavors -type f -exec busybox cat {} +
clean "busybox ls" busybox ls -lR tenants
clean "busybox grep" busybox grep -r x tenants
is "nothing that blocks or reads disks is listed" "$(find . -name wait -o -name wait-for -o -name data -o -name console -o -name by-id -o -name events-follow -o -name last-error)" ""

# exact sizes: what stat says is what is read
is "sizes are exact" "$(find tenants flavors README version -type f | while IFS= read -r f; do
	size=$(stat -c %s "$f")
	[ "$size" = "$(cat "$f" | wc -c)" ] || echo "$f $size"
done)" ""

# completion and the like
is "completion shows servers" "$(bash -c 'compgen -f tenants/acme/servers/s')" "tenants/acme/servers/spec
tenants/acme/servers/s1
tenants/acme/servers/s2"
is "a shell pattern meets blanks" "$(cat tenants/acme/servers/with*/status)" ACTIVE
clean "50 times cat, as watch does" sh -c 'for i in $(seq 50); do cat tenants/acme/servers/s1/status tenants/acme/servers/list; done'

# out of the tree
clean "cp -r" cp -r . "$WORK/out/cp"
clean "cp -a" cp -a tenants "$WORK/out/cpa"
clean "rsync -a" rsync -a ./ "$WORK/out/rsync/"
clean "tar" tar cf "$WORK/out/tar.tar" .
clean "a second cp -r" cp -r . "$WORK/out/cp2"
clean "diff of two copies" diff -r --exclude=events --exclude=metrics --exclude=task "$WORK/out/cp" "$WORK/out/cp2"
clean "diff of a copy and the tree" diff -r --exclude=metrics "$WORK/out/rsync/tenants" tenants
mkdir "$WORK/out/untar" && tar xf "$WORK/out/tar.tar" -C "$WORK/out/untar"
clean "tar copied the truth" diff -r --exclude=metrics "$WORK/out/untar/tenants" tenants
is "a copy of a server says what it was" "$(cat "$WORK/out/cp/tenants/acme/servers/s1/status")" ACTIVE
is "links are copied as links" "$(readlink "$WORK/out/cp/tenants/acme/servers/s1/networks/lan")" "$(readlink tenants/acme/servers/s1/networks/lan)"

# and back over it: whatever these programs say, nothing changes
calm "tar x over the tree" tar xf "$WORK/out/tar.tar" -C "$CLOUD"
calm "tar x --overwrite" tar xf "$WORK/out/tar.tar" --overwrite -C "$CLOUD"
calm "cp -r back" cp -r "$WORK/out/cp/." "$CLOUD"
calm "cp -a back" cp -a "$WORK/out/cpa/." "$CLOUD/tenants"
calm "rsync -a back" rsync -a "$WORK/out/rsync/" "$CLOUD/"
calm "rsync --inplace back" rsync -a --inplace -I "$WORK/out/rsync/" "$CLOUD/"
calm "busybox cp -r back" busybox cp -r "$WORK/out/cp/tenants" "$CLOUD/"
calm "touch" find tenants/acme -type f -exec touch {} +
calm "chmod to what they are" sh -c 'find tenants/acme -type f -print0 | while IFS= read -r -d "" f; do chmod $(stat -c %a "$f") "$f"; done'
is "no status was lost on the way" "$(cat tenants/acme/servers/s1/status tenants/acme/servers/s2/status tenants/acme/servers/draft/status)" "ACTIVE
ACTIVE
DRAFT"

# tail -f
tail -n 1 -f events > "$WORK/tail" 2>&1 &
tailing=$!
sleep 0.5
mkdir tenants/seen
works "tail -f of events sees a new line" until_true 60 grep -q 'tenants/seen create ok' "$WORK/tail"
is "the shell reads on meanwhile" "$(timeout 60 tail -n 1 events | cut -d' ' -f3-5)" "tenants/seen create ok"
kill $tailing
wait $tailing 2> /dev/null
is "and after it" "$(timeout 60 cat tenants/acme/servers/s1/status)" ACTIVE
tail -c 1000 -F events > "$WORK/tail" 2>&1 &
tailing=$!
works "tail -F as well" until_true 60 grep -q seen "$WORK/tail"
kill $tailing
finish
