# A Debian with its distribution's cloud-init, unmodified: finds OpenStack by SMBIOS, takes name, key and user data from the service or the drive.
# Minutes under emulation: make check-cloud-init.
# timeout 3600
. "$(dirname "$0")/lib.sh"
DEBIAN=${DEBIAN:-$TOP/build/guest/debian.qcow2}
[ -e "$DEBIAN" ] || { echo "1..0 # skip there is no $DEBIAN (tests/guest/build-debian.sh)"; exit 0; }
guests_up
mkdir images/debian && cp "$DEBIAN" images/debian/data && cat images/debian/wait
put 'create mini vcpus=1 ram=768' "$CLOUD/flavors/ctl"
sim_key keys/me me@desk
cat > "$WORK/script" << 'EOF'
#!/bin/bash
{
	echo "CLOUD name $(hostname)"
	echo "CLOUD id $(cloud-id)"
	echo "CLOUD source $(cloud-init query platform 2>/dev/null) $(cloud-init query subplatform 2>/dev/null)"
	echo "CLOUD instance $(cloud-init query v1.instance_id)"
	echo "CLOUD zone $(cloud-init query v1.availability_zone)"
	echo "CLOUD meta $(cloud-init query ds.meta_data.meta.role)"
	echo "CLOUD key $(cat /home/debian/.ssh/authorized_keys)"
	echo "CLOUD address $(hostname -I)"
	echo "CLOUD done"
} > /dev/ttyS0
EOF
said() { sed -n "s/^CLOUD $2 //p" "servers/$1/console.log" | tr -d '\r' | tail -n 1; }
for s in service drive; do
	works "a Debian, by the $s" put "create $s-1 flavor=mini image=debian network=lan key=me metadata/role=$s config-drive=$([ $s = drive ] && echo true || echo false) \
user-data=base64:$(base64 -w0 "$WORK/script")" servers/ctl
	is "is ACTIVE" "$(cat servers/$s-1/wait)" ACTIVE
	begin=$(date +%s)
	works "its user data ran" until_true 1500 grep -q '^CLOUD done' servers/$s-1/console.log
	note "$(($(date +%s) - begin)) s after its start"
	is "its name" "$(said $s-1 name)" "$s-1"
	note "source: $(said $s-1 source)"
	case $s in
	service)
		is "the datasource" "$(said $s-1 id)" openstack
		like "the service was it" "$(said service-1 source)" "*metadata (http://169.254.169.254)*" ;;
	drive)
		is "the datasource" "$(said $s-1 id)" configdrive
		like "the drive was it" "$(said drive-1 source)" "*config-disk (/dev/sr0)*" ;;
	esac
	is "the instance" "$(said $s-1 instance)" "$(cat servers/$s-1/id)"
	is "its zone" "$(said $s-1 zone)" nova
	is "its metadata" "$(said $s-1 meta)" "$s"
	is "the key of its user" "$(said $s-1 key)" "$(cat keys/me)"
	is "its address" "$(said $s-1 address | xargs)" "$(address $s-1)"
	note "asked: $(awk '{ print $3, $4 }' servers/$s-1/imds/log | tr '\n' ',')"
	grep -a -i -E 'cloud-init.*(Datasource|warn|error|fail)|Traceback' servers/$s-1/console.log | tr -d '\r' | sed 's/^/# /'
	[ -z "${KEEP:-}" ] || cp servers/$s-1/console.log "$KEEP/$s.log"
	rmdir servers/$s-1
	cat servers/wait > /dev/null
done
rmdir networks/lan
cat wait > /dev/null
finish
