# A real Swift on loopback (tests/objects/swiftd.py) as the place of packs: by its own protocol with TempAuth's and with Keystone's tokens, and by S3 with
# the bucket in the path and in the host's name.  Then its object server dies and comes back.  And a mounted store has its packs there, by either, while
# it is killed and the object server dies.  All in namespaces of its own: nothing is left.
# timeout 900
TOP=$(cd "$(dirname "$0")/../.." && pwd)
REMOTE=${REMOTE:-$TOP/build/remote} CIRRUSFS=${CIRRUSFS:-$TOP/build/cirrusfs}
if [ -z "${CFS_ALONE:-}" ]; then
	export CFS_ALONE=1
	exec unshare --mount --net --pid --fork --kill-child --propagation private bash "$0" "$@"
fi
/usr/bin/python3 -c 'import swift' 2> /dev/null && command -v memcached > /dev/null || { echo "1..0 # skip no python3-swift, no memcached (make check-remote installs them)"; exit 0; }
mount -t proc proc /proc
ip link set lo up
WORK=$(mktemp -d)
chmod 711 "$WORK"
trap 'cd /; umount -l "$WORK/cloud" 2> /dev/null; kill $(jobs -p) 2> /dev/null; wait; rm -rf "$WORK"' EXIT
touch "$WORK/x" && /usr/bin/python3 -c "import os; os.setxattr('$WORK/x', 'user.x', b'y')" 2> /dev/null ||
	{ echo "1..0 # skip no extended attributes in $WORK"; exit 0; }
printf '127.0.0.1 localhost s3.test packs.s3.test nothing-here.s3.test\n' > "$WORK/hosts"
mount --bind "$WORK/hosts" /etc/hosts

swiftd() { exec /usr/bin/python3 "$TOP/tests/objects/swiftd.py" "$1" "$WORK/swift"; }
n=0 bad=0
report() { n=$((n + 1)); if [ "$1" = 0 ]; then echo "ok $n - $2"; else echo "not ok $n - $2"; bad=1; fi; }
# Its facts among ours.
remote() {
	local title=$1 line
	shift
	while IFS= read -r line; do
		case $line in
		"ok "*) report 0 "$title:${line#*-}" ;;
		"not ok "*) report 1 "$title:${line#*-}" ;;
		1..*) ended=1 ;;
		*) echo "$line" ;;
		esac
	done < <("$REMOTE" "$@" 2>&1)
	[ -n "${ended:-}" ] || report 1 "$title: it ends"
	ended=
}

memcached -u nobody -l 127.0.0.1 -p 11211 > /dev/null 2>&1 &
(swiftd make) || exit 99
for s in account container object proxy keystone; do swiftd $s > "$WORK/$s.log" 2>&1 & eval "$s=\$!"; done
for _ in $(seq 300); do curl -sf -o /dev/null http://127.0.0.1:8080/healthcheck && break; sleep 0.1; done
printf 'secret\n' > "$WORK/secret"
chmod 600 "$WORK/secret"
token() { curl -si -H 'X-Auth-User: acme:me' -H 'X-Auth-Key: secret' http://127.0.0.1:8080/auth/v1.0 | tr -d '\r' | sed -n 's/^X-Auth-Token: //p'; }
made() { curl -sf -o /dev/null -X PUT -H "X-Auth-Token: $(token)" http://127.0.0.1:8080/v1/AUTH_acme/packs; }
for _ in $(seq 100); do made && break; sleep 0.2; done	# the other servers come up, too
made || { tail "$WORK"/*.log | sed 's/^/# /'; exit 99; }

remote "swift, TempAuth" swift http://127.0.0.1:8080/auth/v1.0 packs acme:me "$WORK/secret"
remote "swift, Keystone" swift http://127.0.0.1:5000/v3 packs acme:me "$WORK/secret"
remote "s3" s3 http://127.0.0.1:8080 packs acme:me "$WORK/secret"
remote "s3, the bucket in the host's name" s3 http://s3.test:8080 packs acme:me "$WORK/secret" virtual

# It gives us up with 503 while the object server is away, and is asked again until it is back.
kill "$object"
curl -s -o /dev/null -w '# without it: %{http_code}\n' -X PUT --data x -H "X-Auth-Token: $(token)" http://127.0.0.1:8080/v1/AUTH_acme/packs/x
wait "$object" 2> /dev/null
{ sleep 3; swiftd object >> "$WORK/object.log" 2>&1; } & object=$!
remote "s3, the object server comes back" s3 http://127.0.0.1:8080 packs acme:me "$WORK/secret"

curl -sf -o "$WORK/left" -H "X-Auth-Token: $(token)" "http://127.0.0.1:8080/v1/AUTH_acme/packs+segments" && [ ! -s "$WORK/left" ]
report $? "no part of an upload is left"
# ---- a mounted store
mkdir "$WORK/cloud"
STORE=$WORK/store CLOUD=$WORK/cloud O=$WORK/cloud/tenants/t/containers/c/objects
export CIRRUSFS_PACK_MAX=2097152
lines() { for line; do printf 'objects-%s\n' "$line"; done; }
settings() {
	"$CIRRUSFS" init "$STORE" > /dev/null
	printf 'virt-type = qemu\n' >> "$STORE/config"
	lines "$@" "bucket = packs" "key = acme:me" "secret-file = $WORK/secret" "cache = 16M" >> "$STORE/config"
}
up() { "$CIRRUSFS" mount "$STORE" "$CLOUD"; }
gone() { for _ in $(seq 300); do kill -0 "$(cut -d' ' -f1 "$STORE/lock")" 2> /dev/null || return 0; sleep 0.1; done; }
down() { umount "$CLOUD" && gone; }
waiting() { sed -n 's/^cirrusfs_object_place_waiting_packs //p' "$CLOUD/metrics"; }
moved() { for _ in $(seq 600); do [ "$(waiting)" = 0 ] && return 0; sleep 0.2; done; return 1; }
try() { local name=$1; shift; out=$("$@" 2>&1); report $? "$name"; [ -z "$out" ] || [ "$bad" = 0 ] || printf '%s\n' "$out" | sed 's/^/#   /' | head -n 5; }
whole() { (cd "$O" && sha256sum --quiet -c "$WORK/sums" 2>&1); }
write() { for i in 1 2 3 4 5 6; do head -c $((i * 900000)) /dev/urandom > "$O/$1$i"; done; sync "$O/${1}6"; (cd "$O" && sha256sum -- * > "$WORK/sums"); }
mounted() { # TITLE LINE...
	local t=$1
	shift
	settings "$@"
	try "$t: a store is mounted" up
	mkdir "$CLOUD/tenants/t" "$CLOUD/tenants/t/containers/c"
	write a
	try "$t: packs move" moved
	kill -9 "$(cut -d' ' -f1 "$STORE/lock")"; gone; umount -l "$CLOUD"
	rm -rf "$STORE/objects/cache"
	up
	try "$t: killed, and without a cache, all is there" whole
	kill "$object"; wait "$object" 2> /dev/null
	write b > /dev/null 2>&1
	try "$t: without the object server writing goes on" test -s "$O/b6"
	sleep 5
	swiftd object >> "$WORK/object.log" 2>&1 & object=$!
	try "$t: ... and when it is back packs move" moved	# a proxy does not ask it again for a minute
	down; rm -rf "$STORE/objects/cache"; up
	(cd "$O" && sha256sum -- * > "$WORK/sums")
	rm "$O"/a[1-5]
	grep -v ' a[1-5]$' "$WORK/sums" > "$WORK/sums.new" && mv "$WORK/sums.new" "$WORK/sums"
	for _ in $(seq 200); do [ "$(sqlite3 -readonly "$STORE/objects/index.db" 'SELECT count(*) FROM pack WHERE live * 2 < size AND away = 1')" = 0 ] && break; sleep 0.2; done
	try "$t: what is dead goes, what lives is there" whole
	down
	out=$("$CIRRUSFS" fsck --data "$STORE" 2>&1)
	report $? "$t: fsck --data is content"
	printf '%s\n' "$out" | sed 's/^/# /' | head -n 5
	up
	rm "$O"/*
	for _ in $(seq 200); do [ "$(sqlite3 -readonly "$STORE/objects/index.db" 'SELECT count(*) FROM pack')" -le 1 ] && break; sleep 0.2; done
	down
	rm -rf "$STORE"
}
mounted "mounted, swift" "place = swift" "url = http://127.0.0.1:5000/v3" "prefix = cloud1/"
mounted "mounted, s3" "place = s3" "url = http://127.0.0.1:8080" "prefix = cloud2/"

[ "$bad" = 0 ] || for s in account container object proxy keystone; do echo "# $s:"; tail -n 5 "$WORK/$s.log" | sed 's/^/#   /'; done
echo "1..$n"
exit "$bad"
