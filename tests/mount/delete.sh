# Removing: who uses it, who protects it, purge, names free at once, by-id until the end.
. "$(dirname "$0")/lib.sh"
cloud_up
sim_up
cd "$CLOUD/tenants/acme" || exit 99
put 'create f vcpus=1 ram=64' "$CLOUD/flavors/ctl"
put 'create s flavor=f image=tiny network=lan host=sim' servers/ctl
cat servers/s/wait > "$WORK/out"

# in use
refused "a network in use" "EBUSY *network 'lan' is used by*tenants/acme/servers/s*" rmdir networks/lan
refused "... by delete in ctl" "EBUSY tenants/acme/networks/ctl: delete lan: *is used by*tenants/acme/servers/s*" put 'delete lan' networks/ctl
refused "an image in use" "EBUSY *image 'tiny' is used by*tenants/acme/servers/s*" rmdir images/tiny
refused "a flavor in use" "EBUSY *flavor 'f' is used by*tenants/acme/servers/s*" rmdir "$CLOUD/flavors/f"
refused "a host in use" "EBUSY *host 'sim' is used by*tenants/acme/servers/s*" rmdir "$CLOUD/hosts/sim"
is "errno of it" "$(rmdir networks/lan 2>&1 | grep -c 'Device or resource busy')" 1
like "used-by says the same" "$(cat networks/lan/used-by images/tiny/used-by)" "*tenants/acme/servers/s*tenants/acme/servers/s*"
is "they are all there" "$(ls -d networks/lan images/tiny "$CLOUD/flavors/f" "$CLOUD/hosts/sim" | wc -l)" 4
refused "a tenant that is not empty" "ENOTEMPTY *tenant 'acme' is not empty*purge plan*" rmdir "$CLOUD/tenants/acme"
is "errno of that" "$(rmdir "$CLOUD/tenants/acme" 2>&1 | grep -c 'Directory not empty')" 1
refused "the top" "EPERM *" rmdir "$CLOUD/tenants"
refused "a port belongs to the system" "EPERM *belongs to the system*" rmdir networks/lan/ports/s-0

# protected
put true servers/s/protected
refused "a protected object" "EPERM *server 's' is protected*" rmdir servers/s
refused "... by its ctl" "EPERM tenants/acme/servers/s/ctl: delete: server 's' is protected*" put delete servers/s/ctl
put false servers/s/protected
put true protected
refused "what is below a protected tenant" "EPERM *tenant 'acme' is protected*" rmdir servers/s
refused "... a key, too" "EPERM *tenant 'acme' is protected*" sh -c 'ssh-keygen -q -t ed25519 -N "" -f "$0/k" && cp "$0/k.pub" keys/me && rm keys/me' "$WORK"
refused "... metadata" "EPERM *is protected*" sh -c 'echo v > servers/s/metadata/k && rm servers/s/metadata/k'
refused "... by purge" "EPERM tenants/acme/ctl: purge: *is protected*" put 'purge confirm=acme' ctl
put false protected
is "... all is there" "$(ls -d servers/s keys/me servers/s/metadata/k | wc -l)" 3
rm keys/me

# the name is free at once
id=$(cat servers/s/id) inode=$(stat -c %i servers/s)
works "rmdir, and a new one of that name at once" sh -c 'rmdir servers/s && echo "create s flavor=f image=tiny network=lan host=sim" > servers/ctl'
is "... works" "$(cat servers/s/wait)" ACTIVE
fails "... has a new id" test "$id" = "$(cat servers/s/id)"
fails "... and a new inode" test "$inode" = "$(stat -c %i servers/s)"
until_true 60 test ! -e "servers/by-id/$id"
fails "the old one finishes and is gone from by-id" test -e "servers/by-id/$id"
is "by-id finds the new one" "$(cat "servers/by-id/$(cat servers/s/id)/status")" ACTIVE
works "an open directory of it does no harm" sh -c 'cd servers/s && rmdir ../s && ! cat status 2> "$0" && grep -q "No such file" "$0"' "$WORK/out"
put 'create s flavor=f image=tiny network=lan host=sim' servers/ctl
cat servers/s/wait > "$WORK/out"
works "a network right after its server, the rest too" sh -c 'rmdir servers/s && rmdir networks/lan && rmdir images/tiny && rmdir "$0/flavors/f"' "$CLOUD"
works "... it ends" sh -c 'timeout 60 cat wait > "$0"' "$WORK/out"
is "... and nothing is left" "$(find servers/by-id networks/by-id images/by-id -mindepth 1 | wc -l)" 0
is "... no namespace" "$(ip netns list | grep -c '^cfs')" 0
is "... no usage" "$(cat usage/* | sort -u)" 0
works "an empty tenant goes" rmdir "$CLOUD/tenants/acme"
cd "$CLOUD" || exit 99
fails "... is gone" test -e tenants/acme
is "what held it says so" "$(cat health)" ok

# purge
rmdir hosts/sim 2> /dev/null
until_true 60 sh -c '! ls hosts/by-id | grep -q .'
sim_up
cd tenants/acme || exit 99
put 'create s1 flavor=m1.tiny image=tiny network=lan host=sim' servers/ctl
put "create 's 2' flavor=m1.tiny image=tiny network=lan host=sim" servers/ctl
sim_key keys/me
mkdir servers/d
cat wait > "$WORK/out"
refused "purge alone" "EINVAL tenants/acme/ctl: purge: *plan*confirm=acme*" put purge ctl
works "purge plan" put 'purge plan' ctl
is "... lists what would go, in order" "$(cat purge)" "servers/s1
servers/s 2
servers/d
networks/lan
images/tiny
keys/me"
is "... deletes nothing" "$(ls -d servers/* networks/lan images/tiny keys/me | grep -vcE '/(ctl|README|list|json|spec|error)$')" 6
refused "purge confirm= another" "EINVAL tenants/acme/ctl: purge: *not the name of this tenant*" put 'purge confirm=admin' ctl
put true images/tiny/protected
refused "purge with something protected" "EPERM tenants/acme/ctl: purge: image 'tiny' is protected*" put 'purge confirm=acme' ctl
is "... does nothing" "$(ls -d servers/s1 networks/lan keys/me | wc -l)" 3
put false images/tiny/protected
works "purge confirm=acme" put 'purge confirm=acme' ctl
is "... leaves nothing" "$(cat spec; cat servers/list networks/list images/list keys/list | grep -vc ^name)" 0
works "... and ends" sh -c 'timeout 60 cat wait > "$0"' "$WORK/out"
is "... purge is empty" "$(cat purge)" ""
works "the tenant goes" rmdir "$CLOUD/tenants/acme"
is "nothing is left of it" "$(ip netns list | grep -c '^cfs')" 0
refused "delete by an id of nothing" "ENOENT tenants/ctl: delete id:*" put 'delete id:00000000-0000-0000-0000-000000000000' "$CLOUD/tenants/ctl"
finish
