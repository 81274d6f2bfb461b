#!/bin/bash
# make-guest.sh OUT.qcow2 [SIZE]
#
# Makes a small bootable Debian guest from Debian's packages alone: BIOS, MBR, one ext4 partition
# (LABEL=root), extlinux, systemd, the QEMU guest agent, a root login without password on ttyS0.
# About 300 MB of data on a disk of SIZE (default 2G).
# Needs root, loop devices and: mmdebstrap extlinux syslinux-common parted e2fsprogs qemu-utils.
set -euo pipefail

out=${1:?usage: make-guest.sh OUT.qcow2 [SIZE]}
size=${2:-2G}
suite=bookworm
start=$((1024 * 1024)) # of the partition, in bytes

for tool in mmdebstrap extlinux parted mkfs.ext4 losetup qemu-img; do
  command -v "$tool" >/dev/null || {
    echo "make-guest.sh: $tool is missing: apt-get install mmdebstrap extlinux syslinux-common parted e2fsprogs mount qemu-utils" >&2
    exit 1
  }
done
[ "$(id -u)" = 0 ] || { echo "make-guest.sh: must run as root (loop mount)" >&2; exit 1; }

work=$(mktemp -d /var/tmp/make-guest.XXXXXX)
root=$work/root raw=$work/disk.raw log=$work/log loop=
mkdir "$root"
cleanup() {
  mountpoint -q "$root" && umount "$root"
  [ -z "$loop" ] || losetup -d "$loop"
  rm -rf "$work"
}
trap cleanup EXIT
trap 'exit 130' INT TERM

truncate -s "$size" "$raw"
parted -s "$raw" mklabel msdos mkpart primary ext4 1MiB 100% set 1 boot on 2>>"$log"
dd if=/usr/lib/EXTLINUX/mbr.bin of="$raw" bs=440 count=1 conv=notrunc status=none
loop=$(losetup --find --show --offset $start "$raw")
mkfs.ext4 -q -L root "$loop"
mount "$loop" "$root"

# The initrd holds the drivers of QEMU's disks only: it is decompressed by an emulated CPU.
initramfs='mkdir -p "$1/etc/initramfs-tools/conf.d"
printf "MODULES=list\nCOMPRESS=zstd\nRESUME=none\n" >"$1/etc/initramfs-tools/conf.d/small"
printf "%s\n" virtio_pci virtio_blk virtio_scsi sd_mod ext4 >"$1/etc/initramfs-tools/modules"'

mmdebstrap --mode=root --variant=essential --skip=check/empty \
  --include=linux-image-cloud-amd64,initramfs-tools,zstd,systemd-sysv,udev,e2fsprogs,qemu-guest-agent \
  --dpkgopt=force-unsafe-io \
  --dpkgopt='path-exclude=/usr/share/doc/*' --dpkgopt='path-exclude=/usr/share/man/*' \
  --dpkgopt='path-exclude=/usr/share/locale/*' \
  --extract-hook='mkdir -p "$1/etc/initramfs-tools"' --essential-hook="$initramfs" \
  "$suite" "$root" >"$log" 2>&1 || { tail -20 "$log" >&2; exit 1; }

echo 'LABEL=root / ext4 defaults 0 1' >"$root/etc/fstab"
echo guest >"$root/etc/hostname"
printf 'nameserver 10.0.2.3\n' >"$root/etc/resolv.conf"
chroot "$root" passwd --quiet --delete root
ln -sf /lib/systemd/system/serial-getty@.service \
  "$root/etc/systemd/system/getty.target.wants/serial-getty@ttyS0.service"

mkdir -p "$root/boot/extlinux"
extlinux --install "$root/boot/extlinux" >"$log" 2>&1 || { cat "$log" >&2; exit 1; }
cat >"$root/boot/extlinux/extlinux.conf" <<CONF
SERIAL 0 115200
DEFAULT debian
LABEL debian
  LINUX /boot/$(cd "$root/boot" && echo vmlinuz-*)
  INITRD /boot/$(cd "$root/boot" && echo initrd.img-*)
  APPEND root=LABEL=root rw console=ttyS0,115200 quiet
CONF

fstrim "$root" # of what installing left behind
umount "$root"
losetup -d "$loop"
loop=
qemu-img convert -f raw -O qcow2 "$raw" "$work/out.qcow2"
mv "$work/out.qcow2" "$out"
