# spec: what was asked of an object, of a collection, of a tenant, as commands that make it again.
. "$(dirname "$0")/lib.sh"
cloud_up
sim_up
cd "$CLOUD/tenants/acme" || exit 99

# of an object
is "of a network: what was asked and the defaults" "$(cat networks/lan/spec)" "cidr=10.0.0.0/24
external=false
shared=false
mtu=1500
dns-domain=openstacklocal"
put disable "$CLOUD/hosts/local/ctl"
put 'create s flavor=m1.tiny image=tiny network=lan' servers/ctl
cat servers/s/wait > "$WORK/out"
put 'create auto flavor=m1.tiny image=tiny host=sim' servers/ctl
is "it never says what the system chose" "$(grep -cE 'host|address|mac|power|launched' servers/s/spec)" 0
put 'create f vcpus=2 ram=2G disk=5' "$CLOUD/flavors/ctl"
is "create takes what it prints" "$(put "create g $(paste -sd' ' "$CLOUD/flavors/f/spec")" "$CLOUD/flavors/ctl" && diff "$CLOUD/flavors/f/spec" "$CLOUD/flavors/g/spec" && echo same)" same
put 'large ones' "$CLOUD/flavors/f/description"
like "description is in it" "$(cat "$CLOUD/flavors/f/spec")" "*description='large ones'"

# odd names and values
mkdir "networks/my 'odd' lan"
put 10.8.0.0/24 "networks/my 'odd' lan/cidr"
put create "networks/my 'odd' lan/ctl"
mkdir 'images/a=b #c'
put "it's \"so\" \$HOME \\ #1" 'images/a=b #c/description'
put 'two words' 'images/a=b #c/properties/a key'
sim_key 'keys/my key' 'me and you'
printf '#!/bin/sh\necho "a b"\n' > "$WORK/data"
mkdir 'servers/my server'
(cd 'servers/my server' && put m1.tiny flavor && put tiny image && put sim host && put 'my key' key && printf '%s\n' lan "my 'odd' lan,address=10.8.0.77" |
	dd of=network bs=4k 2> /dev/null && cp "$WORK/data" user-data && put 'v=1 "2"' metadata/k && put '' metadata/empty && put create ctl)
is "a server of odd names" "$(cat 'servers/my server/wait'; cat 'servers/my server/network')" "ACTIVE
lan
my 'odd' lan,address=10.8.0.77"
like "a document stands as base64" "$(cat 'servers/my server/spec')" "*
user-data=base64:$(base64 -w0 "$WORK/data")
*"
like "metadata are keys" "$(cat 'servers/my server/spec')" "*
metadata/k='v=1 \"2\"'*"

# of a collection
like "of a collection: ensure lines" "$(cat networks/spec)" "ensure networks/lan cidr=10.0.0.0/24 *
ensure *my*odd* lan* cidr=10.8.0.0/24 *"
cat wait > /dev/null	# a network may still be built
before=$(cat spec servers/json networks/json events)
works "written back to it" sh -c 'cat networks/spec > "$0/s" && cat "$0/s" > networks/spec' "$WORK"
works "written to its own ctl" sh -c 'cat "$0/s" > networks/ctl' "$WORK"
is "... nothing happens" "$(cat spec servers/json networks/json events)" "$before"

# of a tenant
cat spec > "$WORK/acme.cloud"
is "of a tenant: every line is an ensure" "$(grep -vc '^ensure ' "$WORK/acme.cloud")" 0
is "... in order of dependency" "$(sed -E "s/^ensure '?([a-z]+).*/\1/" "$WORK/acme.cloud" | uniq | paste -sd' ')" "keys images networks servers"
works "written back, to spec and ctl" sh -c 'cat "$0" > spec && cat "$0" > ctl' "$WORK/acme.cloud"
is "... nothing happens" "$(cat spec servers/json networks/json events)" "$before"
mkdir "$CLOUD/tenants/copy"
cd "$CLOUD/tenants/copy" || exit 99
fails "into another tenant: an image's bytes are not in it, a server says so" sh -c 'cat "$0" > ctl' "$WORK/acme.cloud"
like "... by name" "$(head -n 1 "$CLOUD/last-error")" "EBUSY tenants/copy/ctl: ensure servers/*: image 'tiny' is queued, not active"
is "... what comes before is made" "$(ls -d images/tiny networks/lan "keys/my key" 'images/a=b #c' | wc -l)" 4
cp "$WORK/tiny.raw" images/tiny/data
cat images/tiny/wait > "$WORK/out"
works "the image given, it builds all" sh -c 'cat "$0" > ctl' "$WORK/acme.cloud"
works "... it is built" sh -c 'cat wait > "$0"' "$WORK/out"
is "... equal to what it was made of" "$(cat spec | diff "$WORK/acme.cloud" -)" ""
is "... with the same values" "$(cat 'images/a=b #c/description' 'images/a=b #c/properties/a key' 'keys/my key' 'servers/my server/user-data' 'servers/my server/metadata/k')" \
	"$(cd ../acme && cat 'images/a=b #c/description' 'images/a=b #c/properties/a key' 'keys/my key' 'servers/my server/user-data' 'servers/my server/metadata/k')"
is "... running" "$(cat 'servers/my server/status' 'servers/my server/addresses' | sort)" "'my '\\''odd'\\'' lan' 10.8.0.77
ACTIVE
lan 10.0.0.$(sed -n 's/^lan 10.0.0.//p' 'servers/my server/addresses')"
before=$(cat events servers/json)
works "again" sh -c 'cat "$0" > ctl' "$WORK/acme.cloud"
is "... nothing happens" "$(cat events servers/json)" "$before"
rmdir servers/s
works "one missing" sh -c 'cat "$0" > ctl' "$WORK/acme.cloud"
is "... comes back alone" "$(cat servers/s/wait; sort spec | diff <(sort "$WORK/acme.cloud") -)" ACTIVE
sed 's/mtu=1500/mtu=1400/' "$WORK/acme.cloud" > "$WORK/other.cloud"
fails "one that may not change" sh -c 'cat "$0" > ctl' "$WORK/other.cloud"
like "... is named with its key" "$(head -n 1 "$CLOUD/last-error")" "EBUSY tenants/copy/ctl: ensure networks/lan: mtu: *"

# json
is "json is JSON, in objects and collections" "$(find "$CLOUD" -name json | python3 -c '
import json, sys
for path in sys.stdin.read().splitlines():
    json.load(open(path))
print("all")')" all
finish
