#!/bin/bash
# build/guest/tiny.qcow2: a guest for tests and the demo that boots in seconds without KVM (Debian's cloud kernel, busybox and
# the files in tests/guest/rootfs).  Needs neither root nor a loop device; Debian's packages are fetched and unpacked, not installed.
# The building host is a Debian 12 that has its package lists (apt-get update) and the packages
#     cpio dosfstools e2fsprogs fdisk mtools qemu-utils syslinux syslinux-common util-linux zstd
# The disk: 1 MiB MBR and gap; FAT16 with syslinux, kernel, initramfs; ext4, mounted at /data; the rest unused.
# Usage: build-guest.sh [-f]      -f: even when nothing is newer than the result.  B=DIR instead of build.
set -euo pipefail
export LC_ALL=C PATH="$PATH:/usr/sbin:/sbin" MTOOLS_SKIP_CHECK=1
cd "$(dirname "$0")/../.."
src=tests/guest
out=${B:-build}/guest
image=$out/tiny.qcow2
# random.trust_cpu and a virtio RNG: no waiting for entropy.  panic=-1: a guest that dies comes back instead of hanging.
cmdline="console=ttyS0 quiet panic=-1 tsc=reliable no_timer_check noreplace-smp cryptomgr.notests random.trust_cpu=on nokaslr"
cmdline="$cmdline mitigations=off net.ifnames=0 rcupdate.rcu_expedited=1"
cmdline="$cmdline 8250.nr_uarts=1 initcall_blacklist=init_kprobe_trace"
modules="virtio_pci virtio_net virtio_blk virtio-rng virtio_scsi evdev button isofs sr_mod ata_piix vfat nls_cp437 nls_ascii"
boot_mib=24 data_mib=24 disk_mib=64

say() { echo "guest: $*"; }
die() { echo "guest: $*" >&2; exit 1; }

fresh() { [ -e "$image" ] && [ -z "$(find "$src/rootfs" "$src/build-guest.sh" -newer "$image" -print -quit)" ]; }

need() {
	local c missing=
	for c in cpio mkfs.fat mke2fs sfdisk mcopy qemu-img syslinux flock zstd dpkg-deb apt-get; do
		command -v "$c" >/dev/null || missing="$missing $c"
	done
	[ -z "$missing" ] || die "not found:$missing (see the packages at the head of $0)"
}

# Newest package of that name into $tmp/PKG; a copy stays in $out/deb for the next time.
fetch() {
	local deb

	mkdir -p "$out/deb"
	(cd "$out/deb" && apt-get -qq -o APT::Sandbox::User=root download "$1") || die "apt-get download $1 failed"
	deb=$(ls -t "$out/deb/$1"_*.deb | head -n 1)
	dpkg-deb -x "$deb" "$tmp/$1"
}

make_initramfs() {
	local root=$tmp/root tree=$tmp/$kernel version=${kernel#linux-image-} m f list
	cp -a "$src/rootfs" "$root"
	mkdir -p "$root"/{bin,dev,proc,sys,run,tmp,data,mnt,var/run,var/log} "$root/lib/modules/$version"
	cp "$tmp/busybox-static/bin/busybox" "$root/bin/"
	"$root/bin/busybox" depmod -b "$tree" "$version"
	# A line of modules.dep names a module and everything it needs.
	list=$(for m in $modules; do
		grep -E "(^|/)$m\.ko:" "$tree/lib/modules/$version/modules.dep" || die "the kernel has no module $m"
	done | tr -d : | tr ' ' '\n' | sort -u)
	for f in $list; do
		cp "$tree/lib/modules/$version/${f#"/lib/modules/$version/"}" "$root/lib/modules/$version/"
	done
	"$root/bin/busybox" depmod -b "$root" "$version"
	(cd "$root" && find . | sort | cpio -o -H newc -R 0:0 --quiet) | zstd -q -19 >"$tmp/initrd"
}

make_boot_partition() {
	truncate -s "${boot_mib}M" "$tmp/boot"
	mkfs.fat -F 16 -s 8 -i c1a0d001 -n TINY "$tmp/boot" >/dev/null
	printf '%s\n' "DEFAULT tiny" "PROMPT 0" "TIMEOUT 0" "LABEL tiny" " KERNEL vmlinuz" " INITRD initrd" \
		" APPEND $cmdline" >"$tmp/syslinux.cfg"
	syslinux --install "$tmp/boot"
	mcopy -i "$tmp/boot" "$tmp/$kernel/boot/vmlinuz-${kernel#linux-image-}" ::vmlinuz
	mcopy -i "$tmp/boot" "$tmp/initrd" "$tmp/syslinux.cfg" ::
}

make_disk() {
	truncate -s "${disk_mib}M" "$tmp/disk"
	printf '%s\n' "label: dos" "label-id: 0xc1a0d001" "start=1MiB, size=${boot_mib}MiB, type=e, bootable" \
		"start=$((1 + boot_mib))MiB, size=${data_mib}MiB, type=83" | sfdisk -q "$tmp/disk"
	dd if=/usr/lib/syslinux/mbr/mbr.bin of="$tmp/disk" bs=440 count=1 conv=notrunc status=none
	dd if="$tmp/boot" of="$tmp/disk" bs=1M seek=1 conv=notrunc,sparse status=none
	mke2fs -q -F -t ext4 -O ^metadata_csum,^resize_inode -L data -m 0 -J size=1 \
		-E "offset=$(((1 + boot_mib) << 20)),lazy_itable_init=0,root_owner=0:0" "$tmp/disk" "${data_mib}M"
}

mkdir -p "$out"
[ "${1:-}" = -f ] || ! fresh || exit 0
need
exec 9>"$out/lock"
flock -n 9 || { say "another one is building, waiting"; flock 9; }
[ "${1:-}" = -f ] || ! fresh || exit 0
tmp=$(mktemp -d "$out/tmp.XXXXXX")
trap 'rm -rf "$tmp"' EXIT

kernel=$(apt-cache depends linux-image-cloud-amd64 | sed -n 's/.*Depends: \(linux-image-[^ ]*\).*/\1/p' | head -n 1)
[ -n "$kernel" ] || die "apt knows no kernel; run apt-get update"
say "fetch $kernel and busybox-static"
fetch "$kernel"
fetch busybox-static
say "initramfs"
make_initramfs
say "boot partition"
make_boot_partition
say "disk"
make_disk
# Not compressed: the BIOS reads in pieces that are no whole clusters, and each would be unpacked several times.
qemu-img convert -O qcow2 "$tmp/disk" "$tmp/tiny.qcow2"
mv "$tmp/tiny.qcow2" "$image"
say "$image: $(stat -c %s "$image") bytes"
