# timeout 900
# cirrusfs fsck: each kind of fault is made by hand, named, repaired, and then there is none.  Guests are only simulated.
. "$(dirname "$0")/lib.sh"
fsck() { "$CIRRUSFS" fsck "$@" "$STORE" 2>&1; echo "-> $?"; }
sql() { sqlite3 "$STORE/state.db" "$1"; }
row() { sql "SELECT id FROM object WHERE name = '$1' AND kind = $2 AND deleted = 0"; }
clean="$STORE: clean
-> 0"
# found NAME LINE [DONE]: fsck says exactly that line and exits 1, changes nothing; --repair says it with what was done; then all is clean.
found() {
	is "$1: is found" "$(fsck)" "$2
-> 1"
	is "$1: a check changes nothing" "$(fsck)" "$2
-> 1"
	is "$1: is repaired" "$(fsck --repair)" "$2: $3
-> 1"
	is "$1: is clean then" "$(fsck)" "$clean"
}

# ---- what it takes and says
like "--help explains" "$("$CIRRUSFS" fsck --help)" "usage: cirrusfs fsck*--repair*--data*lost+found*"
is "a mistake is told" "$("$CIRRUSFS" fsck --mend "$WORK" > /dev/null 2>&1; echo $?)" 2
like "no store" "$(fsck)" "cirrusfs: open the store '$STORE': No such file or directory
-> 2"
cloud_up "check-interval = 1"
is "the store of a mounted cloud is not checked beside it" "$(fsck)" "cirrusfs: a mounted cloud checks itself, see its file health: the store $STORE is held by process $(cloud_pid), mounted at $CLOUD
-> 2"
sim_up
cd "$CLOUD/tenants/acme" || exit 99
put 'create a flavor=m1.tiny image=tiny network=lan host=sim' servers/ctl
put 'create b flavor=m1.tiny image=tiny network=lan host=sim' servers/ctl
cat "$CLOUD/wait" > /dev/null
ns=$(cat networks/lan/netns)
hash=${ns#cfs} hash=${hash%%n*}
short=cfs${hash%??}
sleep 3
is "nothing drifts in a quiet cloud" "$(grep drift "$CLOUD/events"; cat "$CLOUD/health")" ok
cd / && cloud_down
is "a cloud that was unmounted well is clean" "$(fsck)" "$clean"
is "its data too" "$(fsck --data)" "$clean"
cloud_up && cloud_kill
is "one that was killed as well" "$(fsck --data)" "$clean"
acme=$(row acme 1) lan=$(row lan 6) tiny=$(row tiny 5) a=$(row a 9) b=$(row b 9)

# ---- the state against itself
sql "UPDATE usage SET used = 7 WHERE name = 'instances' AND tenant = $acme"
found "usage" "tenants/acme: usage/instances says 7 and is 2" "corrected"
sql "DELETE FROM usage WHERE name = 'ram' AND tenant = $acme"
found "a usage that is missing" "tenants/acme: usage/ram says 0 and is 1024" "corrected"
sql "UPDATE host SET vcpus_used = 40 WHERE id = $(row sim 3)"
found "what a host's servers take" "hosts/sim: vcpus_used says 40 and its servers take 2" "corrected"
sql "INSERT INTO task (id, object, verb, created, request, who, was) VALUES (900, 999999, 'start', 0, 'req-x', 'root', 'SHUTOFF')"
found "a task of nobody" "state.db task 900: its object is gone from object" "removed"
sql "INSERT INTO task (id, object, verb, created, request, who, was) VALUES (901, $a, 'explode', 0, 'req-x', 'root', 'ACTIVE')"
found "a task nobody knows" "task 901: a server has no task 'explode'" "removed"
sql "UPDATE server SET key = 999999 WHERE id = $a"
found "a reference to nothing" "state.db server $a: its key is gone from key" "it names none now"
sql "INSERT INTO history (object, at, verb, result, request, who, duration, detail) VALUES (999998, 0, 'x', 'ok', '', '', 0, '')"
found "history of nobody" "state.db history $(sql 'SELECT max(id) FROM history'): its object is gone from object" "removed"
sql "UPDATE object SET status = 'BUILD' WHERE id = $b"
found "a status nobody works on" "tenants/acme/servers/b: it is BUILD and no task is at work" "it counts as failed; the same verb again works"
is "it is ERROR" "$(sql "SELECT status, failed FROM object WHERE id = $b")" "ERROR|create"
sql "UPDATE object SET status = 'ACTIVE', failed = '', error = '' WHERE id = $b"
sql "INSERT INTO object (id, kind, parent, tenant, name, uuid, status, created, changed) VALUES (950, 5, $acme, $acme, 'half', '00000000-0000-0000-0000-000000000950', 'queued', 0, 0)"
found "half an object" "tenants/acme/images/half: state.db has no row of it in image" "removed"
sql "INSERT INTO object (id, kind, parent, tenant, name, uuid, status, deleted, created, changed) VALUES (951, 4, $acme, $acme, 'going', '00000000-0000-0000-0000-000000000951', 'ACTIVE', 1, 0, 0); INSERT INTO key (id) VALUES (951)"
found "a deletion nobody does" "tenants/acme/keys/going: it is being deleted and no task does it" "its deletion goes on"
cloud_up && cat "$CLOUD/wait" > /dev/null && cloud_down
is "it comes to its end" "$(sql "SELECT count(*) FROM object WHERE id = 951")" 0

# an index that lacks an entry
python3 - "$STORE/state.db" <<'END'
import sqlite3, sys
db = sqlite3.connect(sys.argv[1], isolation_level=None)
db.execute("PRAGMA writable_schema = ON")
root, = db.execute("SELECT rootpage FROM sqlite_schema WHERE name = 'object_parent'").fetchone()
db.execute("UPDATE sqlite_schema SET sql = 'CREATE INDEX object_parent ON object(parent, kind, id) WHERE id < 5' WHERE name = 'object_parent'")
db.execute("PRAGMA schema_version = 99001")
db.close()
db = sqlite3.connect(sys.argv[1], isolation_level=None)
db.execute("REINDEX object_parent")
db.execute("PRAGMA writable_schema = ON")
db.execute("UPDATE sqlite_schema SET sql = 'CREATE INDEX object_parent ON object(parent, kind, id)' WHERE name = 'object_parent'")
db.execute("PRAGMA schema_version = 99002")
db.close()
END
like "an index with holes is found" "$(fsck)" "$STORE/state.db: *object_parent*-> 1"
like "and made anew" "$(fsck --repair)" "$STORE/state.db: *object_parent*: its indexes are made anew*-> 1"
is "and is clean then" "$(fsck)" "$clean"

# ---- files
mkdir "$STORE/servers/77777" && echo precious > "$STORE/servers/77777/disk.qcow2"
found "a disk of no server" "servers/77777: there is no such server" "moved to lost+found"
is "it is kept" "$(cat "$STORE/lost+found/servers-77777/disk.qcow2")" precious
echo data > "$STORE/images/77778.img"
found "data of no image" "images/77778.img: there is no such image" "moved to lost+found"
is "it is kept, too" "$(cat "$STORE/lost+found/images-77778.img")" data
mkdir "$STORE/networks/77779" && touch "$STORE/networks/77779/leases"
found "a directory of no network" "networks/77779: there is no such network" "removed"
objects() { sqlite3 "$STORE/objects/index.db" "$1"; }
cp -a "$STORE/images/$tiny.img" "$WORK/img"
printf x | dd of="$STORE/images/$tiny.img" conv=notrunc bs=1 seek=1000 status=none
is "a byte that changed in a base file is not seen from outside" "$(fsck)" "$clean"
is "--data sees it" "$(fsck --data)" "tenants/acme/images/tiny: its base file $STORE/images/$tiny.img is not what was taken
-> 1"
is "--repair removes it" "$(fsck --data --repair)" "tenants/acme/images/tiny: its base file $STORE/images/$tiny.img is not what was taken: removed; it is made anew when a server needs it
-> 1"
is "which is no loss" "$(fsck --data)" "$clean"
head -c 1000 "$WORK/img" > "$STORE/images/$tiny.img"
found "a base file that was cut off" "tenants/acme/images/tiny: its base file has 1000 bytes, and its data 1048576" "removed; it is made anew when a server needs it"
mkdir "$STORE/servers/$a" && touch "$STORE/servers/$a/disk.qcow2" && sql "UPDATE host SET simulated = 0 WHERE id = $(row sim 3)"
found "a base file that is missing while a disk stands on it" "tenants/acme/images/tiny: its base file is missing, and disks of servers stand on it: $STORE/images/$tiny.img" "made again"
works "it is what it was" cmp "$WORK/img" "$STORE/images/$tiny.img"
printf x >> "$STORE/images/$tiny.img"
like "one that is damaged is let alone while a disk stands on it" "$(fsck --repair)" "tenants/acme/images/tiny: its base file has 1048577 bytes, and its data 1048576: not mended: a server's disk stands on it
-> 1"
rm -r "$STORE/servers/$a" "$STORE/images/$tiny.img" && sql "UPDATE host SET simulated = 1 WHERE id = $(row sim 3)"
is "without it all is well" "$(fsck)" "$clean"
cp -a "$WORK/img" "$STORE/images/$tiny.img"
objects "DELETE FROM entry WHERE space = -1 AND parent > 0"
is "an image that is only in its base file, as an older cirrusfs left it, is whole" "$(fsck --data --repair > /dev/null; fsck --data)" "$clean"
printf x | dd of="$STORE/images/$tiny.img" conv=notrunc bs=1 seek=1000 status=none
like "unless a byte of it changed" "$(fsck --data)" "tenants/acme/images/tiny: its data has MD5 * and had $(md5sum < "$WORK/img" | cut -d' ' -f1) when it was taken
-> 1"
like "--repair takes it from use" "$(fsck --data --repair)" "*: deactivated: no new server may use it
-> 1"
is "it is deactivated" "$(sql "SELECT status FROM object WHERE id = $tiny")" deactivated
cloud_up
sleep 2
is "what is damaged is not moved into the object store" "$(objects "SELECT count(*) FROM entry WHERE space = -1 AND parent > 0"; grep -c 'is not what was taken' "$STORE/log")" "0
1"
cloud_down
cp -a "$WORK/img" "$STORE/images/$tiny.img"
is "with its bytes back all is well" "$(fsck --data)" "$clean"
sql "UPDATE object SET status = 'active' WHERE id = $tiny"
rm "$STORE/images/$tiny.img"
found "an image without its data" "tenants/acme/images/tiny: its data is missing: it is not in the object store, and there is no $STORE/images/$tiny.img" "queued again, for its data"
cloud_up
is "its data may come again" "$(cp "$WORK/img" "$CLOUD/tenants/acme/images/tiny/data"; cat "$CLOUD/tenants/acme/images/tiny/wait")" active
cloud_down

# ---- the machine
no_dnsmasq
found "a dnsmasq that was killed" "tenants/acme/networks/lan: dnsmasq does not run" "made again"
nft delete table inet "cfs$hash"
found "the host's nftables table" "this machine: there is no nftables table inet cfs$hash" "made again"
ip netns exec "$ns" nft flush table inet cirrusfs
found "a table inside" "tenants/acme/networks/lan: nftables table inet cirrusfs: a rule of chain postrouting is missing" "made again"
ip netns exec "$ns" nft delete table bridge cirrusfs
found "the bridge's table" "tenants/acme/networks/lan: there is no nftables table bridge cirrusfs" "made again"
ip -n "$ns" addr flush dev br0
found "the bridge's addresses" "tenants/acme/networks/lan: the bridge has no address 169.254.169.254/32" "made again"
link=$(ip -o link | sed -n "s/^[0-9]*: \(${short}v[^@]*\)@.*/\1/p")
ip link set "$link" down
like "a link that is down" "$(fsck --repair)" "tenants/acme/networks/lan: the link $link to the outside is down or has another MTU: made again*-> 1"
is "is mended" "$(fsck)" "$clean"
ip link del "$link"
like "a link that is gone" "$(fsck --repair)" "tenants/acme/networks/lan: the link $link to the outside is missing: made again*-> 1"
is "is mended" "$(fsck)" "$clean"
ip -n "$ns" link del br0
like "a bridge that is gone" "$(fsck --repair)" "tenants/acme/networks/lan: the bridge br0 is missing: made again*-> 1"
is "is mended" "$(fsck)" "$clean"
ip netns del "$ns"
found "a namespace without its name" "tenants/acme/networks/lan: there is no network namespace $ns" "made again"
no_dnsmasq
ip netns del "$ns"
found "a namespace that is gone" "tenants/acme/networks/lan: there is no network namespace $ns" "made again"
rm -r "/run/cirrusfs-dns/$ns"
found "what dnsmasq reads" "tenants/acme/networks/lan: dnsmasq's files in /run/cirrusfs-dns/$ns are missing" "made again"

ip netns add "cfs${hash}n88888"
found "a namespace of no network" "namespace cfs${hash}n88888: there is no network 88888" "removed"
ip link add "${short}vzzz" type veth peer name stray0
found "a link of no network" "link ${short}vzzz: there is no network 46655" "removed"
ip tuntap add "${short}tzzz" mode tap
found "a tap of no port" "tap ${short}tzzz: there is no such port" "removed"
ip -n "$ns" tuntap add "${short}tzzz" mode tap
found "a tap of no port, in a network" "tap ${short}tzzz in $ns: there is no such port" "removed"
mkdir "/run/cirrusfs-dns/cfs${hash}n88889"
found "names of no network" "directory /run/cirrusfs-dns/cfs${hash}n88889: there is no network 88889" "removed"
mkdir "$STORE/networks/88890" && printf 'port=0\nbind-dynamic\ninterface=none\npid-file=\nlog-facility=/dev/null\n' > "$STORE/networks/88890/dnsmasq.conf"
dnsmasq --conf-file="$STORE/networks/88890/dnsmasq.conf"
pid=$(pgrep -f "conf-file=$STORE/networks/88890")
like "a dnsmasq of no network" "$(fsck)" "process $pid, dnsmasq: there is no network 88890
networks/88890: there is no such network
-> 1"
like "is ended" "$(fsck --repair)" "process $pid, dnsmasq: there is no network 88890: removed*-> 1"
is "and is gone" "$(kill -0 "$pid" 2>&1 | grep -c 'No such process'; fsck)" "1
$clean"
ip netns add cfs00000000n1 && ip link add cfs000000vzzz type veth peer name stray1
is "another store's are not ours" "$(fsck)" "$clean"
ip netns del cfs00000000n1; ip link del cfs000000vzzz

# several at once: a line each
sql "UPDATE usage SET used = 9 WHERE name = 'ports' AND tenant = $acme"
no_dnsmasq
mkdir "$STORE/servers/77780"
is "several faults are a line each" "$(fsck | sort)" "-> 1
servers/77780: there is no such server
tenants/acme/networks/lan: dnsmasq does not run
tenants/acme: usage/ports says 9 and is 2"
like "and are repaired together" "$(fsck --repair | wc -l)" 4
is "all of them" "$(fsck)" "$clean"
# what cannot be mended is said
no_dnsmasq
is "what could not be mended says why" "$(CIRRUSFS_PATH=/nonexistent fsck --repair)" "tenants/acme/networks/lan: dnsmasq does not run: not mended: the program dnsmasq is not installed
-> 1"
is "and is mended later" "$(fsck --repair)" "tenants/acme/networks/lan: dnsmasq does not run: made again
-> 1"

# ---- a mounted cloud after all that
cloud_up
is "the cloud serves" "$(cat "$CLOUD/tenants/acme/servers/a/status" "$CLOUD/health")" "ACTIVE
ok"
rmdir "$CLOUD/tenants/acme/servers/a" "$CLOUD/tenants/acme/servers/b" "$CLOUD/tenants/acme/networks/lan"
cat "$CLOUD/wait" > /dev/null
cloud_down
is "all is clean when all is deleted" "$(fsck)" "$clean"
"$CIRRUSFS" fsck "$STORE" > /dev/full 2>&1
is "what cannot be written is no clean bill" $? 2

# ---- a state that is none
cp -a "$STORE" "$WORK/good"
for size in 0 1 99 100 1000 4096 5000 20000 40960 100000; do
	cp "$WORK/good/state.db" "$STORE/state.db" && rm -f "$STORE"/state.db-*
	truncate -s $size "$STORE/state.db"
	out=$(fsck)
	like "a state of $size bytes could not be checked" "$out" "*cirrusfs: *
-> 2"
	is "it is not written to" "$(stat -c %s "$STORE/state.db")" $size
	is "with a sentence, and no more" "$(printf '%s\n' "$out" | grep -c '^cirrusfs: ')" 1
done
for seed in 1 2 3 4 5 6 7 8 9 10 11 12; do
	cp "$WORK/good/state.db" "$STORE/state.db" && rm -f "$STORE"/state.db-*
	python3 -c '
import random, sys
r, path = random.Random(int(sys.argv[2])), sys.argv[1]
data = bytearray(open(path, "rb").read())
for _ in range(r.choice([1, 10, 1000])):
    at = r.randrange(len(data)); n = r.choice([1, 8, 512, 4096])
    data[at:at + n] = r.randbytes(len(data[at:at + n]))
open(path, "wb").write(data)' "$STORE/state.db" $seed
	out=$(fsck --repair)
	like "garbage $seed in the state ends well" "$(printf '%s\n' "$out" | tail -n 1)" "-> [012]"
done
head -c 65536 /dev/urandom > "$STORE/state.db" && rm -f "$STORE"/state.db-*
like "garbage as a state" "$(fsck)" "cirrusfs: *not a database*
-> 2"
finish
