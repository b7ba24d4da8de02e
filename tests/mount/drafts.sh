# Drafts: what mkdir of a thing with parameters makes, until create.
. "$(dirname "$0")/lib.sh"
cloud_up
sim_up
cd "$CLOUD/tenants/acme" || exit 99

works "mkdir of a server" mkdir servers/d
is "is a draft" "$(cat servers/d/status)" DRAFT
is "... that counts for no quota" "$(cat usage/instances)" 0
is "... has no task" "$(cat servers/d/task)" none
is "... and wait answers at once" "$(timeout 60 cat servers/d/wait)" DRAFT
like "... list shows it" "$(cat servers/list)" "*
d	????????-*	DRAFT*"
like "... ctl offers create" "$(cat servers/d/ctl)" "*# create *"
is "... spec of the tenant leaves it out" "$(grep -c servers/d spec)" 0
refused "create with nothing set" "EINVAL tenants/acme/servers/d/ctl: create: a server needs a flavor*" put create servers/d/ctl
is "... it stays a draft" "$(cat servers/d/status)" DRAFT
refused "another verb" "EBUSY tenants/acme/servers/d/ctl: start: *is a draft*" put start servers/d/ctl
refused "flavor is checked as it is written" "ENOENT tenants/acme/servers/d/flavor: *no flavor 'm9.huge'*m1.tiny*" put m9.huge servers/d/flavor
is "... and keeps what it had" "$(cat servers/d/flavor)" ""
works "flavor" put m1.tiny servers/d/flavor
is "... is read back" "$(cat servers/d/flavor)" m1.tiny
refused "image" "ENOENT tenants/acme/servers/d/image: *no image 'none'*tiny*" put none servers/d/image
refused "network" "ENOENT tenants/acme/servers/d/network: *no network 'wan'*lan*" put wan servers/d/network
refused "key" "ENOENT tenants/acme/servers/d/key: *no key 'me'*" put me servers/d/key
refused "host" "ENOENT tenants/acme/servers/d/host: *no host 'mars'*" put mars servers/d/host
refused "config-drive" "EINVAL tenants/acme/servers/d/config-drive: *neither true nor false*" put perhaps servers/d/config-drive
sim_key keys/me
works "every parameter can be written" sh -c 'cd servers/d && echo tiny > image && echo lan,address=10.0.0.20 > network && echo me > key &&
	echo sim > host && echo "#!/bin/sh" > user-data && echo yes > config-drive && echo said > description'
is "... and is read back" "$(cd servers/d && cat image network key host user-data config-drive description | paste -sd' ')" \
	"tiny lan,address=10.0.0.20 me sim #!/bin/sh true said"
like "networks/ shows the link" "$(readlink servers/d/networks/lan)" "*networks/lan"
works "metadata of a draft" put blue servers/d/metadata/colour
mkdir networks/n2
refused "a draft cannot be named" "EBUSY tenants/acme/servers/d/network: *'n2' is a draft*" put n2 servers/d/network
is "... the list is kept" "$(cat servers/d/network)" lan,address=10.0.0.20
works "create" put create servers/d/ctl
is "... makes it" "$(cat servers/d/wait)" ACTIVE
is "... as asked" "$(cat servers/d/addresses servers/d/host servers/d/metadata/colour | paste -sd' ')" "lan 10.0.0.20 sim blue"
refused "create again" "EEXIST tenants/acme/servers/d/ctl: create: *created already*" put create servers/d/ctl
refused "a parameter is fixed then" "EPERM tenants/acme/servers/d/flavor: *fixed*" put m1.small servers/d/flavor
works "... the same value is no change" put m1.tiny servers/d/flavor
refused "a document too" "EPERM tenants/acme/servers/d/user-data: *fixed*" python3 -c '
import os
f = os.open("servers/d/user-data", os.O_WRONLY | os.O_TRUNC); os.write(f, b"other"); os.close(f)'

# a draft that was refused keeps what it was told
works "mkdir again" mkdir servers/e
works "... values" sh -c 'cd servers/e && echo m1.tiny > flavor && echo tiny > image && echo sim > host && echo lan > network'
put 0 quota/instances
refused "create over quota" "EDQUOT tenants/acme/servers/e/ctl: create: quota of instances: *used*limit 0*" put create servers/e/ctl
is "... is a draft still" "$(cat servers/e/status servers/e/flavor | paste -sd' ')" "DRAFT m1.tiny"
put -1 quota/instances
works "... and made when there is room" put create servers/e/ctl
is "... it is" "$(cat servers/e/wait)" ACTIVE

# going away
works "rmdir of a draft" rmdir networks/n2
fails "... it is gone" test -e networks/n2
mkdir servers/f
id=$(cat servers/f/id)
rmdir servers/f
is "... with nothing left" "$(ls servers/by-id | grep -c "$id")" 0
mkdir networks/n3
works "ensure makes a draft what it says" put 'ensure n3 cidr=10.3.0.0/24' networks/ctl
is "... it is created" "$(cat networks/n3/wait)" ACTIVE
refused "create NAME of a draft" "EEXIST tenants/acme/networks/ctl: create n4: *a draft*" sh -c 'mkdir networks/n4; echo create n4 cidr=10.4.0.0/24 > networks/ctl'
rmdir networks/n4

# every parameter of the other kinds
works "a flavor's" sh -c 'mkdir "$0/flavors/f" && cd "$0/flavors/f" && echo 2 > vcpus && echo 1G > ram && echo 5 > disk && echo 1 > ephemeral &&
	echo 64 > swap && echo no > public && echo create > ctl' "$CLOUD"
is "... stand" "$(cd "$CLOUD/flavors/f" && cat vcpus ram disk ephemeral swap public status | paste -sd' ')" "2 1024 5 1 64 false ACTIVE"
works "a network's" sh -c 'mkdir networks/all && cd networks/all && echo 10.9.0.0/16 > cidr && echo 1400 > mtu && echo lab.example > dns-domain &&
	echo true > shared && echo false > external && echo create > ctl'
is "... stand" "$(cat networks/all/wait; cd networks/all && cat cidr mtu dns-domain shared | paste -sd' ')" "ACTIVE
10.9.0.0/16 1400 lab.example true"
refused "a host's are checked" "EINVAL hosts/bad/uri: *not a libvirt URI*" sh -c 'mkdir "$0/hosts/bad"; echo nonsense > "$0/hosts/bad/uri"' "$CLOUD"
refused "a host without one" "EINVAL hosts/bad/ctl: create: a host needs a uri*" put create "$CLOUD/hosts/bad/ctl"
refused "this machine is no second host" "EEXIST hosts/bad/ctl: create: host 'local' is this machine already*" \
	sh -c 'echo qemu:///embed > "$0/hosts/bad/uri" && echo create > "$0/hosts/bad/ctl"' "$CLOUD"
works "... goes" rmdir "$CLOUD/hosts/bad"

# live on mkdir
mkdir images/q "$CLOUD/tenants/live"
is "an image is queued at once" "$(cat images/q/status)" queued
works "a tenant is there at once" mkdir "$CLOUD/tenants/live/images/x"
refused "a subnet is made by its network" "EOPNOTSUPP tenants/acme/networks/lan/subnets*: *filled by the system*" mkdir networks/lan/subnets/x
refused "a key is a file" "EPERM tenants/acme/keys*: *is a file*" mkdir keys/dir
works "an empty key" touch keys/empty
until_true 60 test ! -e keys/empty
fails "... is none" test -e keys/empty
finish
