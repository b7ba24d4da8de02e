# Sourced by the tests with real guests: tests/mount/lib.sh and what they share.  Guests are the tiny one (make guest), under emulation.
. "$(dirname "$0")/../mount/lib.sh"
for need in qemu-system-x86_64 qemu-img dnsmasq nft curl; do
	command -v $need > /dev/null || { echo "1..0 # skip $need is not installed"; exit 0; }
done
[ -e "$TINY" ] || { echo "1..0 # skip there is no $TINY (make guest)"; exit 0; }

# guests_up [LINE...]: a cloud whose admin has the public image `tiny`, a flavor `nano`, and a tenant `t` with a network `lan`; the shell is in t.
guests_up() {
	cloud_up "$@"
	cd "$CLOUD" || exit 99
	mkdir tenants/t tenants/admin/images/tiny && cp "$TINY" tenants/admin/images/tiny/data && cat tenants/admin/images/tiny/wait > /dev/null &&
		put public tenants/admin/images/tiny/visibility && put 'create nano vcpus=1 ram=128' flavors/ctl &&
		put 'create lan cidr=10.0.0.0/24' tenants/t/networks/ctl && cd tenants/t && [ "$(cat networks/lan/wait)" = ACTIVE ] && return
	echo "Bail out! $(head -n 1 "$CLOUD/last-error")"
	exit 99
}
# server NAME [k=v...]: asks for one on lan, and does not wait.
server() { put "create $1 flavor=nano image=tiny network=lan $2 $3" servers/ctl; }
# http NETNS ADDRESS: as there; WAIT: seconds.
http() { ip netns exec "$1" curl -s -m "${WAIT:-10}" "http://$2"; }
ms() { date +%s%3N; }
address() { sed -n "s/^${2:-lan} \([0-9.]*\).*/\1/p" "servers/$1/addresses" | head -n 1; }
says() { [ "$(http "$1" "$2")" = "$3" ]; }
# answers NAME [NETWORK]: the guest says its name over the network, before long.
answers() { until_true "${WITHIN:-90}" says "$(cat "networks/${2:-lan}/netns")" "$(address "$1" "${2:-lan}")" "$1"; }
# asks NAME PATH: what the guest's HTTP server gives for it.
asks() { ip netns exec "$(cat networks/lan/netns)" curl -s -m 20 "http://$(address "$1")/$2"; }
# qemus [NAME]: processes of that server, of all servers.
qemus() { pgrep -f "^[^ ]*qemu-system.*guest=c-.*${1:+-uuid $(cat "servers/$1/id")}" || true; }
# within MS COMMAND...: works and takes no longer.
within() { begin=$(ms) most=$1; shift; "$@" && took=$(($(ms) - begin)) && echo "took $took ms" && [ "$took" -le "$most" ]; }
# note TEXT: for the reader of the log.
note() { echo "# $*"; }
