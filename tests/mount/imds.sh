# The metadata of servers: imds/ shows what the service in each network's namespace answers, to each address its own.
. "$(dirname "$0")/lib.sh"
cloud_up
sim_up
cd "$CLOUD/tenants/acme" || exit 99
sim_key keys/me me@desk
printf '#!/bin/sh\necho hi\0there' > "$WORK/data"
server() { put "create $1 flavor=m1.tiny image=tiny network=lan host=sim $2 $3 $4" servers/ctl; }
server web key=me metadata/role=front "user-data=base64:$(base64 -w0 "$WORK/data")"
server db
mkdir "$CLOUD/tenants/other"
put 'create lan cidr=10.0.0.0/24' "$CLOUD/tenants/other/networks/ctl"
put public images/tiny/visibility
put 'create twin flavor=m1.tiny image=tiny network=lan host=sim' "$CLOUD/tenants/other/servers/ctl"
cat "$CLOUD/wait" > /dev/null
ns=$(cat networks/lan/netns) other=$(cat "$CLOUD/tenants/other/networks/lan/netns")
is "two tenants' servers with one address" "$(cat servers/web/addresses "$CLOUD/tenants/other/servers/twin/addresses" | sort -u)" "lan 10.0.0.11"
# Simulated servers have no taps: whoever has the address in the namespace is the guest.
for at in $ns $other; do
	for last in 11 12 99; do ip -n "$at" addr add "10.0.0.$last/32" dev lo; done
done
# ask ADDRESS PATH [CURL...]; FROM: another namespace.
ask() { a=$1 p=$2; shift 2; ip netns exec "${FROM:-$ns}" curl -s -m 20 --path-as-is --interface "$a" "$@" "http://169.254.169.254$p"; }
code() { ask "$@" -o /dev/null -w '%{http_code}'; }

# ---- the directory
is "imds/ lists" "$(ls servers/web/imds servers/web/imds/openstack servers/web/imds/latest | xargs)" "servers/web/imds: latest log openstack servers/web/imds/latest: \
meta-data user-data servers/web/imds/openstack: latest"
works "ls -lR" ls -lR servers/web/imds
is "find finds all" "$(find servers/web/imds -type f | wc -l)" 25
works "dated versions are answered" cat servers/web/imds/openstack/2013-04-04/meta_data.json servers/web/imds/1.0/meta-data/ami-id servers/web/imds/log.1
is "each of its time" "$(ls servers/web/imds/openstack/2012-08-10 | xargs)" "meta_data.json user_data"
fails "what a version does not have" cat servers/web/imds/openstack/2012-08-10/password
wrong=
for f in $(find servers/web/imds -type f ! -name log); do
	[ "$(stat -c %s "$f")" = "$(wc -c < "$f")" ] || wrong="$wrong $f:size"
	ask 10.0.0.11 "${f#servers/web/imds}" > "$WORK/got"
	cmp -s "$f" "$WORK/got" || wrong="$wrong $f:content"
done
is "sizes are exact, and each file is what the service says" "$wrong" ""
works "user data are the very bytes" cmp "$WORK/data" servers/web/imds/latest/user-data
works "tar takes it" tar -C servers/web -cf "$WORK/imds.tar" imds
is "whole" "$(tar -xOf "$WORK/imds.tar" imds/openstack/latest/meta_data.json)" "$(cat servers/web/imds/openstack/latest/meta_data.json)"
is "the JSON is JSON" "$(python3 -c 'import json, sys; print(json.load(open(sys.argv[1]))["meta"]["role"])' servers/web/imds/openstack/latest/meta_data.json)" front
inodes=$(find servers/web/imds -printf '%p %i\n' | sort)
is "no two have an inode in common" "$(find servers/web/imds servers/db/imds -printf '%i\n' | sort | uniq -d)" ""
is "by-id shows it, too" "$(cat "servers/by-id/$(cat servers/web/id)/imds/latest/meta-data/hostname")" web.novalocal
refused "nothing is written there" "EPERM tenants/acme/servers/web/imds/latest/meta-data/hostname: *" put x servers/web/imds/latest/meta-data/hostname
refused "nothing is made there" "EPERM tenants/acme/servers/web/imds/x: *" mkdir servers/web/imds/x
fails "nor files" touch servers/web/imds/openstack/latest/x
fails "nor links" ln -s ../../flavor servers/web/imds/x
fails "nor renamed" mv servers/web/imds/log servers/web/imds/old
fails "nor removed" rmdir servers/web/imds/latest
fails "rm -rf of it removes nothing" rm -rf servers/web/imds
is "the server is there" "$(cat servers/web/status)" ACTIVE
is "no spec has it" "$(grep -c imds servers/web/spec)" 0
mkdir servers/draft
works "a draft shows what it has" grep -q '"name": "draft"' servers/draft/imds/openstack/latest/meta_data.json
cp "$WORK/data" servers/draft/user-data
works "and what it is given" cmp "$WORK/data" servers/draft/imds/openstack/latest/user_data
rmdir servers/draft

# ---- who asks
is "an address is told of its own" "$(ask 10.0.0.11 /latest/meta-data/hostname; echo; ask 10.0.0.12 /latest/meta-data/hostname)" "web.novalocal
db.novalocal"
is "in another network another's" "$(FROM=$other ask 10.0.0.11 /latest/meta-data/hostname)" twin.novalocal
is "nobody's address is told nothing" "$(code 10.0.0.99 /latest/meta-data/hostname; code 10.0.0.1 /; FROM=$other code 10.0.0.12 /)" 404404404
is "headers do not change that" "$(ask 10.0.0.12 /latest/meta-data/hostname -H 'X-Forwarded-For: 10.0.0.11' -H "X-Instance-ID: $(cat servers/web/id)")" db.novalocal
is "types" "$(ask 10.0.0.11 /openstack/latest/meta_data.json -o /dev/null -w '%{content_type}'; ask 10.0.0.11 /latest/user-data -o /dev/null -w ' %{content_type}')" \
	"application/json text/plain; charset=UTF-8"
is "no user data: 404" "$(code 10.0.0.12 /latest/user-data; code 10.0.0.12 /openstack/latest/user_data)" 404404
is "paths that leave the tree" "$(code 10.0.0.11 /../../etc/passwd; code 10.0.0.11 /latest/%2e%2e/%2e%2e/state.db; code 10.0.0.11 /log)" 404404404
is "other methods" "$(code 10.0.0.11 /latest -X DELETE; code 10.0.0.11 /latest/user-data -d x; code 10.0.0.11 /latest -I)" 405405200

# ---- changes are seen at once
put back servers/web/metadata/role
like "metadata" "$(ask 10.0.0.11 /openstack/latest/meta_data.json)" '*"meta": {"role": "back"}*'
mv servers/web servers/www
is "the name" "$(ask 10.0.0.11 /latest/meta-data/hostname)" www.novalocal
rm keys/me
like "not the key, which it was given" "$(ask 10.0.0.11 /latest/meta-data/public-keys/0/openssh-key; ask 10.0.0.11 /latest/meta-data/public-keys)" "ssh-ed25519 *me@desk0=me"
is "the seed is the server's own and stays" "$(ask 10.0.0.11 /openstack/latest/meta_data.json | grep -o '"random_seed": "[^"]*' | md5sum)" \
	"$(grep -o '"random_seed": "[^"]*' servers/www/imds/openstack/latest/meta_data.json | md5sum)"
fails "another's differs" [ "$(grep -o 'random_seed": "[^"]*' servers/www/imds/openstack/latest/meta_data.json)" = "$(grep -o 'random_seed": "[^"]*' servers/db/imds/openstack/latest/meta_data.json)" ]

# ---- the password, once
is "too long" "$(code 10.0.0.11 /openstack/latest/password -d "$(head -c 1021 /dev/zero | tr '\0' x)")" 400
is "set" "$(code 10.0.0.11 /openstack/latest/password -d 'c2VjcmV0=')" 200
is "not twice" "$(code 10.0.0.11 /openstack/latest/password -d other)" 409
is "and shown" "$(cat servers/www/imds/openstack/latest/password; ask 10.0.0.11 /openstack/latest/password)" "c2VjcmV0=c2VjcmV0="
is "to nobody else" "$(ask 10.0.0.12 /openstack/latest/password)" ""

# ---- the log
row=$(($(stat -c %i servers/www) & ((1 << 34) - 1)))
mkdir -p "$STORE/servers/$row"	# a real server has it
ask 10.0.0.11 /latest/meta-data/hostname > /dev/null
ask 10.0.0.11 '/no%0aFAKE%20line/x' > /dev/null
like "imds/log says what was asked" "$(cat servers/www/imds/log)" "20*Z GET /latest/meta-data/hostname 200 13
20*Z GET /no%0AFAKE%20line/x 404 9"
works "its size is what it holds" exact servers/www/imds/log
long=/$(head -c 190 /dev/zero | tr '\0' a)
ip netns exec "$ns" curl -s --interface 10.0.0.11 "http://169.254.169.254$long/[1-800]" > /dev/null
works "it is cut before it is large" [ "$(stat -c %s servers/www/imds/log)" -lt 70000 ]
works "what was before is log.1" eval '[ "$(stat -c %s servers/www/imds/log.1)" -ge 65536 ]'

# ---- a restart, and a namespace made anew
numbers() { find servers/www/imds -printf '%p %i\n' | sed s/www/web/ | sort; }
cd / && cloud_kill && cloud_up && cd "$CLOUD/tenants/acme" || exit 99
works "after a kill and a mount" until_true 60 eval '[ "$(ask 10.0.0.11 /latest/meta-data/hostname)" = www.novalocal ]'
is "inode numbers are the same" "$(numbers)" "$inodes"
pid=$(ip netns pids "$ns" | head -n 1)
kill "$pid"
ip netns del "$ns"
put 'create again flavor=m1.tiny image=tiny network=lan host=sim' servers/ctl
cat servers/again/wait > /dev/null
cd / && cloud_down && cloud_up && cd "$CLOUD/tenants/acme" || exit 99
until_true 60 ip -n "$ns" link show br0
until_true 60 ip -n "$ns" addr add 10.0.0.11/32 dev lo
works "in a namespace made anew" until_true 60 eval '[ "$(ask 10.0.0.11 /latest/meta-data/hostname)" = www.novalocal ]'

# ---- ten thousand connections of one guest
files() { find "/proc/$(cloud_pid)/fd" 2> /dev/null | wc -l; }
memory() { awk '/^VmRSS/ { print $2 }' "/proc/$(cloud_pid)/status"; }
ip -n "$ns" addr add 10.0.0.12/32 dev lo
before=$(files) rss=$(memory)
cat > "$WORK/flood" << 'EOF'
import resource, socket, time
resource.setrlimit(resource.RLIMIT_NOFILE, (12000, 12000))
held = []
for i in range(10000):
    s = socket.socket()
    s.setblocking(False)
    s.bind(("10.0.0.11", 0))
    try: s.connect(("169.254.169.254", 80))
    except BlockingIOError: pass
    held.append(s)
print("flooded", flush=True)
end = time.time() + 4
while time.time() < end:
    for s in held[::50]:
        try: s.send(b"GET /latest HTTP/1.1\r\nX")
        except OSError: pass
    time.sleep(0.1)
EOF
ip netns exec "$ns" python3 "$WORK/flood" > "$WORK/flooded" &
until_true 60 grep -q flooded "$WORK/flooded"
is "meanwhile another guest is answered" "$(for i in 1 2 3 4 5; do ask 10.0.0.12 /latest/meta-data/hostname; done)" db.novalocaldb.novalocaldb.novalocaldb.novalocaldb.novalocal
is "and one in another network" "$(FROM=$other ask 10.0.0.11 /latest/meta-data/hostname)" twin.novalocal
works "few descriptors are held" [ $(($(files) - before)) -le 40 ]
wait $!
works "and none for long" until_true 40 eval '[ "$(files)" -le $((before + 2)) ]'
works "nor memory ($rss KiB before)" [ $(($(memory) - rss)) -lt 40960 ]
echo "# memory: $rss KiB before, $(memory) after"
is "the guest itself is served again" "$(ask 10.0.0.11 /latest/meta-data/hostname)" www.novalocal
is "health" "$(cat "$CLOUD/health")" ok

# ---- it goes
rmdir servers/db
cat servers/wait > /dev/null
is "who is gone is told nothing" "$(code 10.0.0.12 /)" 404
rmdir servers/www servers/again
cat servers/wait > /dev/null
rmdir networks/lan
cat networks/wait > /dev/null
fails "the namespace is gone" ip -n "$ns" link
finish
