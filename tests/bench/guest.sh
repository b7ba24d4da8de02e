#!/bin/bash
# create of a server to ACTIVE, beside what it cannot do without: qemu-img create of its overlay and libvirt's create of the same domain, under
# the same driver with the same settings.  By turns, medians of K.  Lines as of run.sh, which runs this.
K=${K:-9}
set -o pipefail
. "$(dirname "$0")/../guest/lib.sh"
guests_up > /dev/null
ref=$WORK/ref
root=/run/cirrusfs/ref
run=$(ls -d /run/cirrusfs/????????)
median() { sort -n | awk '{ v[NR] = $1 } END { print v[int((NR + 1) / 2)] }'; }
mkdir -m 711 "$ref" && cp -r --preserve=mode "$run" "$root" 2> /dev/null
rm -rf "${root:?}"/{run,lib,log,store} "$root"/cache
ln -s "$run/cache" "$root/cache"
cp "$TINY" "$ref/base.qcow2" && chmod 644 "$ref/base.qcow2"
# the same domain, with a disk, a tap and a console of its own
server x && [ "$(cat servers/x/wait)" = ACTIVE ] || { echo "a server: $(cat servers/x/error)"; exit 99; }
sed -n '/<domain /,/<\/domain>/p' "$run"/run/qemu/c-*.xml | sed -e "s,file='[^']*disk.qcow2',file='$ref/disk.qcow2'," -e "/<backingStore type/,/<\\/backingStore>/d" \
	-e "s,path='[^']*',path='$ref/console',g" -e "s,<log file='[^']*',<log file='$ref/console.log'," -e "s,dev='cfs[^']*',dev='reftap'," \
	-e "s,<name>c-.*</name>,<name>ref</name>," -e "s,<uuid>.*</uuid>,<uuid>$(cat /proc/sys/kernel/random/uuid)</uuid>,; s,<entry name='uuid'>.*</entry>,,; s,<label>.*</label>,,; s,<imagelabel>.*</imagelabel>,," \
	> "$WORK/ref.xml"
rmdir servers/x && cat servers/wait > /dev/null
ip tuntap add reftap mode tap user libvirt-qemu
for ((i = 0; i < K; i++)); do
	a=$EPOCHREALTIME
	server g
	[ "$(cat servers/g/wait)" = ACTIVE ] || exit 99
	b=$EPOCHREALTIME
	echo $((${b/./} - ${a/./})) >> "$WORK/ours"
	rmdir servers/g && cat servers/wait > /dev/null
	"$BENCH/probe" embed "$root" "$WORK/ref.xml" "$ref/base.qcow2" "$ref/disk.qcow2" 2 2>> "$WORK/said" | tail -n 1 >> "$WORK/theirs" || { cat "$WORK/said"; exit 99; }
done
ours=$(median < "$WORK/ours") theirs=$(median < "$WORK/theirs")
printf 'create to ACTIVE, beside qemu-img and libvirt alone\t%s\tus\t%s\t%s\n' "$ours" "$theirs" "$(awk -v a="$ours" -v b="$theirs" 'BEGIN { printf "%.2f", a / b }')"
cd /
cloud_down
