# What a guest was given reaches it: by the service at 169.254.169.254 and by a config drive; and nobody gets what is another's.
. "$(dirname "$0")/lib.sh"
guests_up
ns=$(cat networks/lan/netns)
sim_key keys/me me@desk
printf '#!/bin/sh\necho "$(hostname) ran this"\n' > "$WORK/script"
# given NAME [k=v...]: a server with key, user data and metadata.
given() {
	name=$1
	shift
	put "create $name flavor=nano image=tiny network=lan key=me metadata/role=$name user-data=base64:$(base64 -w0 "$WORK/script") $*" servers/ctl
}
# shown NAME FILE: what the guest says it was told.
shown() { asks "$1" "metadata/$2"; }
told() { until_true "${WITHIN:-120}" eval '[ "$(shown '"$1"' status)" = 0 ]'; }
fetched() { asks "$1" "cgi-bin/fetch?http://169.254.169.254/$2"; }

works "servers with key, user data and metadata" eval 'given web && given disk config-drive=true'
mkdir "$CLOUD/tenants/u"
put 'create lan cidr=10.0.0.0/24' "$CLOUD/tenants/u/networks/ctl"
cat "$CLOUD/tenants/u/networks/lan/wait" > /dev/null
put 'create twin flavor=nano image=tiny network=lan metadata/role=twin' "$CLOUD/tenants/u/servers/ctl"
is "become ACTIVE" "$(cat servers/web/wait servers/disk/wait "$CLOUD/tenants/u/servers/twin/wait" | xargs)" "ACTIVE ACTIVE ACTIVE"

works "the first runs its user data" told web
is "with what the service gave" "$(shown web from)" service
is "under its name" "$(shown web output)" "web ran this"
is "and says its name" "$(http "$ns" "$(address web)")" web
is "its key is installed" "$(shown web authorized_keys)" "$(cat keys/me)"
is "it saw what imds/ shows" "$(shown web meta_data.json)" "$(cat servers/web/imds/openstack/latest/meta_data.json)"
is "its user data, too" "$(shown web user_data)" "$(cat "$WORK/script")"
like "imds/log says so" "$(cat servers/web/imds/log)" "20*Z GET /openstack/latest/meta_data.json 200 [1-9]*
20*Z GET /openstack/latest/user_data 200 $(stat -c %s "$WORK/script")"
works "its size is what it holds" exact servers/web/imds/log

works "the second runs its user data" told disk
is "with what the drive gave" "$(shown disk from)" drive
is "under its name" "$(shown disk output)" "disk ran this"
is "its key is installed" "$(shown disk authorized_keys)" "$(cat keys/me)"
is "it saw what imds/ shows" "$(shown disk meta_data.json)" "$(cat servers/disk/imds/openstack/latest/meta_data.json)"
is "and asked nobody" "$(cat servers/disk/imds/log)" ""

# who asks is known
is "a guest is told of itself" "$(fetched web latest/meta-data/hostname; echo; fetched disk latest/meta-data/local-ipv4)" "web.novalocal
$(address disk)"
is "one with that address in another network, too" "$(ip netns exec "$(cat "$CLOUD/tenants/u/networks/lan/netns")" curl -s -m 90 --retry 9 --retry-connrefused \
	--retry-delay 2 "http://10.0.0.11/cgi-bin/fetch?http://169.254.169.254/latest/meta-data/hostname"; cat "$CLOUD/tenants/u/servers/twin/addresses")" \
	"twin.novalocallan 10.0.0.11"
like "who pretends to be another gets nothing" "$(fetched web 'latest/meta-data/hostname?address=10.0.0.12')" web.novalocal
put new servers/web/metadata/role
like "a change is seen at once" "$(fetched web openstack/latest/meta_data.json)" '*"meta": {"role": "new"}*'
like "not on the drive" "$(shown disk meta_data.json)" '*"meta": {"role": "disk"}*'

# the drive is made anew at a start; user data run once
put newer servers/disk/metadata/role
put 'reboot hard' servers/disk/ctl
is "after a reboot" "$(cat servers/disk/wait)" ACTIVE
works "the drive says the new" until_true 120 eval 'case $(shown disk meta_data.json) in *newer*) ;; *) false ;; esac'
works "user data have run already" until_true 120 eval '[ "$(shown disk status)" = earlier ]'
is "and nothing is run again" "$(shown disk output | grep -c ran)" 0

# the image decides
put mandatory "$CLOUD/tenants/admin/images/tiny/properties/img_config_drive"
server forced
cat servers/forced/wait > /dev/null
works "an image may want a drive" until_true 120 eval '[ "$(shown forced from)" = drive ]'
rm "$CLOUD/tenants/admin/images/tiny/properties/img_config_drive"

# after a restart, and after the namespace was made anew
cd / && cloud_kill && cloud_up && cd "$CLOUD/tenants/t" || exit 99
works "after a kill and a mount" until_true 60 eval '[ "$(fetched web latest/meta-data/hostname)" = web.novalocal ]'
rmdir servers/web servers/disk servers/forced
cat servers/wait > /dev/null
works "everything goes" sh -c 'rmdir networks/lan ../u/servers/twin; cat ../u/servers/wait; rmdir ../u/networks/lan'
cat wait "$CLOUD/tenants/u/wait" > /dev/null
is "and is gone" "$(ls /run/netns "$STORE/servers" | grep -v -e : -e '^$')" ""
finish
