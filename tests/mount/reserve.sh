# On a full disk nothing new is accepted, and deletions are: a reserve in the store is given up for them, and made again later.
. "$(dirname "$0")/lib.sh"
mkdir "$STORE"
mount -t tmpfs -o size=64m tmpfs "$STORE"
cloud_up "check-interval = 1"
sim_up
cd "$CLOUD/tenants/acme" || exit 99
for i in 1 2 3 4 5 6 7 8; do echo "create s$i flavor=m1.tiny image=tiny network=lan host=sim"; done > servers/ctl
cat servers/wait > /dev/null
is "there is a reserve" "$(stat -c %s "$STORE/reserve")" 4194304
# the database's own files have some room left
full() { dd if=/dev/zero of="$STORE/filler" bs=64k status=none 2> /dev/null; i=0; while [ $i -lt 5000 ] && put "$(head -c 30000 /dev/zero | tr '\0' x)$i" servers/s1/description; do i=$((i + 1)); done 2> /dev/null; [ $i -lt 5000 ]; }
rm "$STORE/reserve"
works "without a reserve, the disk is full" full
refused "a deletion is refused then" "ENOSPC tenants/acme/servers/s1: *full" rmdir servers/s1
rm "$STORE/filler"
works "with room there is a reserve again" until_true 60 eval '[ "$(stat -c %s "$STORE/reserve")" = 4194304 ]'
works "the disk is full again" full
refused "a value is refused" "ENOSPC tenants/acme/servers/s1/description: *full" put "$(head -c 60000 /dev/zero | tr '\0' y)" servers/s1/description
works "health says it is almost full" grep -q "almost full" "$CLOUD/health"
for i in 1 2 3 4 5 6 7 8; do works "s$i can be deleted" rmdir servers/s$i; done
works "the network too" rmdir networks/lan
works "they come to their end" timeout 60 cat wait
is "and are gone" "$(ls -d servers/s[0-9] networks/lan 2> /dev/null)" ""
is "the reserve was given up" "$(ls "$STORE/reserve" 2> /dev/null)" ""
rm "$STORE/filler"
works "when there is room it is there again" until_true 60 eval '[ "$(stat -c %s "$STORE/reserve")" = 4194304 ]'
works "and everything is accepted" put 'create lan cidr=10.0.0.0/24' networks/ctl
cat wait > /dev/null
cd / && cloud_down
is "fsck" "$("$CIRRUSFS" fsck --data "$STORE"; echo $?)" "$STORE: clean
0"
no_dnsmasq
umount "$STORE"
finish
