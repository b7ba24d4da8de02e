# The running system finds what drifted, whatever hypervisors do, and on a disk that cannot be written any more.  Real guests: tests/guest/drift.sh.
. "$(dirname "$0")/lib.sh"
health() { cat "$CLOUD/health"; }
mended() { grep -q " drift mended .*$1" "$CLOUD/events"; }

# two hypervisors that answer to no list: networks are mended all the same, and what is not mended is told once
export CIRRUSFS_FAULT=list:*:hang60000
cloud_up "check-interval = 1"
unset CIRRUSFS_FAULT
sim_up
cd "$CLOUD/tenants/acme" || exit 99
put 'create a flavor=m1.tiny image=tiny network=lan host=sim' servers/ctl
cat servers/wait > /dev/null
ns=$(cat networks/lan/netns)
sleep 3
is "in a quiet cloud nothing drifts" "$(grep ' drift ' "$CLOUD/events"; health)" ok
cat "$CLOUD/events-follow" > "$WORK/followed" &
follower=$!
opened 1 events-follow
ip netns add "${ns%n*}n99999"
works "a namespace of nobody is removed" until_true 60 mended "there is no network 99999"
until_true 60 grep -q drift "$WORK/followed"
kill $follower
wait $follower
like "who follows the events is told" "$(cat "$WORK/followed")" "* - 'namespace ${ns%n*}n99999' drift mended *there is no network 99999: removed*"
pkill -9 -x dnsmasq
works "a killed dnsmasq is started though no hypervisor answers" until_true 60 mended "dnsmasq does not run"
like "history of the network" "$(tail -n 1 networks/lan/history)" "*drift mended *"
sqlite3 "$STORE/state.db" "UPDATE usage SET used = 5 WHERE name = 'instances' AND tenant = (SELECT id FROM object WHERE name = 'acme')"
works "what is counted wrongly is corrected" until_true 60 mended "usage/instances says 5 and is 1"
is "usage" "$(cat usage/instances)" 1
mkdir "$STORE/images/x" && touch "$STORE/images/99998.img"
works "a file of nobody is a line of health" until_true 60 eval 'health | grep -q "^images/99998.img: there is no such image: not mended: it may be somebody"'
is "and one event" "$(sleep 3; grep -c '99998.img drift EBUSY ' "$CLOUD/events")" 1
rm "$STORE/images/99998.img"
works "until it is gone" until_true 60 eval '[ "$(health)" = ok ]'
cd / && pid=$(cloud_pid) && kill -9 "$pid" && cloud_gone && umount -l "$CLOUD"
is "fsck" "$("$CIRRUSFS" fsck "$STORE"; echo $?)" "$STORE: clean
0"
pkill -9 -x dnsmasq

# a store whose disk gives up
truncate -s 200M "$WORK/disk"
STORE=$WORK/store2
mkdir "$STORE"
if mkfs.ext4 -q "$WORK/disk" && mount -o loop "$WORK/disk" "$STORE"; then
	cloud_up "check-interval = 1"
	sim_up
	cd "$CLOUD/tenants/acme" || exit 99
	put 'create a flavor=m1.tiny image=tiny network=lan host=sim' servers/ctl
	cat servers/wait > /dev/null
	mount -o remount,abort "$STORE"
	fails "the disk takes nothing" touch "$STORE/x"
	works "health says so" until_true 60 eval 'health | grep -q "^the disk that holds the store is read-only: "'
	is "reads go on" "$(cat servers/a/status servers/a/addresses; wc -l < servers/list)" "ACTIVE
lan 10.0.0.11
2"
	refused "a verb is refused" "EROFS tenants/acme/servers/a/ctl: *the disk that holds the store is read-only" put stop servers/a/ctl
	refused "a value, too" "EROFS tenants/acme/servers/a/description: *read-only" put x servers/a/description
	refused "a new thing, too" "EROFS tenants/acme/images/n: *read-only" mkdir images/n
	refused "and a deletion" "EROFS tenants/acme/servers/a: *read-only" rmdir servers/a
	is "everything is what it was" "$(cat servers/a/status; ls images)" "ACTIVE
$(ls images)"
	cd / && cloud_down
	is "it is unmounted as always" $? 0
	no_dnsmasq
	umount "$STORE" && mount -o loop "$WORK/disk" "$STORE"
	like "on a disk that was mended all is there" "$("$CIRRUSFS" fsck --repair "$STORE"; echo $?)" "*1"
	is "and clean" "$("$CIRRUSFS" fsck --data "$STORE"; echo $?)" "$STORE: clean
0"
	cloud_up
	is "it serves" "$(cat "$CLOUD/tenants/acme/servers/a/status"; put d "$CLOUD/tenants/acme/servers/a/description"; cat "$CLOUD/tenants/acme/servers/a/description")" "ACTIVE
d"
	cloud_down
	no_dnsmasq
	umount "$STORE"
else
	report 0 "a disk that gives up # skip no loop device here"
fi
finish
