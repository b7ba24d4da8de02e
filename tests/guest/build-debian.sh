#!/bin/bash
# build/guest/debian.qcow2: a Debian 12 with its own cloud-init, as a distribution makes it, for `make check-cloud-init`.  It takes minutes and
# some 500 MB of Debian's packages; needs root, mmdebstrap, dosfstools, e2fsprogs, fdisk, mtools, qemu-utils, syslinux, syslinux-common.
# Nothing in it knows cirrusfs: no datasource is named, no user made.  Usage: build-debian.sh [-f]      B=DIR instead of build.
set -euo pipefail
export LC_ALL=C PATH="$PATH:/usr/sbin:/sbin" MTOOLS_SKIP_CHECK=1
cd "$(dirname "$0")/../.."
out=${B:-build}/guest
image=$out/debian.qcow2
packages=cloud-init,linux-image-cloud-amd64,systemd-sysv,udev,dbus,openssh-server,iproute2,ifupdown,isc-dhcp-client,ca-certificates,kmod
boot_mib=96 root_mib=1400

[ "${1:-}" != -f ] || rm -f "$image" "$out/debian.tar"
[ ! -e "$image" ] || exit 0
mkdir -p "$out"
for c in mmdebstrap mkfs.fat mke2fs sfdisk mcopy qemu-img syslinux; do
	command -v $c > /dev/null || { echo "debian guest: $c is not installed" >&2; exit 1; }
done
if [ ! -e "$out/debian.tar" ]; then
	mmdebstrap --quiet --variant=minbase --include=$packages --aptopt='APT::Install-Recommends "false"' bookworm "$out/debian.tar.new"
	mv "$out/debian.tar.new" "$out/debian.tar"
fi
tmp=$(mktemp -d "$out/tmp.XXXXXX")
trap 'rm -rf "$tmp"' EXIT
mkdir "$tmp/root"
tar -C "$tmp/root" -xpf "$out/debian.tar" --exclude='./dev/*' --numeric-owner
echo '/dev/vda2 / ext4 defaults 0 1' > "$tmp/root/etc/fstab"
: > "$tmp/root/etc/machine-id"
rm -rf "$tmp"/root/var/cache/apt/archives/*.deb "$tmp"/root/usr/share/{doc,man,locale}

truncate -s ${boot_mib}M "$tmp/boot"
mkfs.fat -F 16 -n BOOT "$tmp/boot" > /dev/null
printf '%s\n' "DEFAULT debian" "PROMPT 0" "TIMEOUT 0" "LABEL debian" " KERNEL vmlinuz" " INITRD initrd" \
	" APPEND root=/dev/vda2 ro console=ttyS0 panic=-1 mitigations=off net.ifnames=0 random.trust_cpu=on" > "$tmp/syslinux.cfg"
syslinux --install "$tmp/boot"
for f in vmlinuz initrd.img; do
	mcopy -i "$tmp/boot" "$(ls "$tmp"/root/boot/$f-* | tail -n 1)" ::${f%.img}
done
mcopy -i "$tmp/boot" "$tmp/syslinux.cfg" ::
truncate -s $((2 + boot_mib + root_mib))M "$tmp/disk"
printf '%s\n' "label: dos" "start=1MiB, size=${boot_mib}MiB, type=e, bootable" "start=$((1 + boot_mib))MiB, size=${root_mib}MiB, type=83" |
	sfdisk -q "$tmp/disk"
dd if=/usr/lib/syslinux/mbr/mbr.bin of="$tmp/disk" bs=440 count=1 conv=notrunc status=none
dd if="$tmp/boot" of="$tmp/disk" bs=1M seek=1 conv=notrunc,sparse status=none
mke2fs -q -F -t ext4 -L root -d "$tmp/root" -E "offset=$(((1 + boot_mib) << 20)),lazy_itable_init=0" "$tmp/disk" ${root_mib}M
qemu-img convert -O qcow2 "$tmp/disk" "$tmp/debian.qcow2"
mv "$tmp/debian.qcow2" "$image"
echo "debian guest: $image: $(stat -c %s "$image") bytes"
