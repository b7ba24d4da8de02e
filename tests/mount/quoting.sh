# Names with blanks and quotes, on lines where fields stand beside each other.
. "$(dirname "$0")/lib.sh"
cloud_up
cd "$CLOUD" || exit 99
mkdir hosts/sim && put test:///default hosts/sim/uri && put create hosts/sim/ctl && cat hosts/sim/wait > /dev/null
mkdir "tenants/a b" && cd "tenants/a b" || exit 99
mkdir images/raw && head -c 1048576 /dev/zero > images/raw/data && cat images/raw/wait > /dev/null
put "create 'my lan' cidr=10.0.0.0/24" networks/ctl
put "create 'it'\\''s' cidr=10.1.0.0/24" networks/ctl
put "create s1 flavor=m1.tiny image=raw host=sim network='my lan' network='it'\\''s'" servers/ctl
is "the server is there" "$(cat servers/s1/wait)" ACTIVE
is "addresses quote the network's name" "$(cat servers/s1/addresses)" "'my lan' 10.0.0.11
'it'\\''s' 10.1.0.11"
is "network shows one name a line" "$(cat servers/s1/network)" "my lan
it's"
like "events quote tenant and path" "$(grep 'servers/s1' ../../events | head -n 1)" "*Z 'a b' 'tenants/a b/servers/s1' create accepted user=root request=req-*"
mkdir ../copy && mkdir ../copy/images/raw && cp images/raw/data ../copy/images/raw/data && cat ../copy/images/raw/wait > /dev/null
works "its spec builds it again elsewhere" sh -c 'cat spec > ../copy/ctl'
is "and reads the same there" "$(cat ../copy/spec)" "$(cat spec)"
finish
