#!/bin/bash
# guest.sh new OUT.qcow2 SIZE PACKAGES
# guest.sh next IN.qcow2 OUT.qcow2 COMMANDS
#
# Makes a Debian guest that boots by itself (BIOS, one ext4 partition, extlinux, a login on ttyS0) with more packages in
# it, or the next generation of one, in which COMMANDS have run.
# Needs root, loop devices and: mmdebstrap extlinux parted e2fsprogs qemu-utils.
set -euo pipefail

how=$1
case $how in
new) out=$2 size=$3 packages=$4 ;;
next) in=$2 out=$3 commands=$4 ;;
esac
start=$((1024 * 1024)) # of the partition, in bytes
work=$(mktemp -d "$(dirname "$out")/guest.XXXXXX")
root=$work/root raw=$work/disk.raw log=$work/log loop=
mkdir "$root"
cleanup() {
  ! mountpoint -q "$root" || umount -R "$root" 2>/dev/null || umount -R -l "$root"
  [ -z "$loop" ] || losetup -d "$loop" || true
  rm -rf --one-file-system "$work" # /dev and others of this machine may be mounted below it still
}
trap cleanup EXIT
trap 'exit 130' INT TERM

logged() { "$@" >"$log" 2>&1 || { tail -20 "$log" >&2; exit 1; }; }
attach() { loop=$(losetup --find --show --offset $start "$raw"); }

boots() {
  echo 'LABEL=root / ext4 defaults 0 1' >"$root/etc/fstab"
  echo guest >"$root/etc/hostname"
  chroot "$root" passwd --quiet --delete root
  ln -sf /lib/systemd/system/serial-getty@.service "$root/etc/systemd/system/getty.target.wants/serial-getty@ttyS0.service"
  mkdir -p "$root/boot/extlinux"
  logged extlinux --install "$root/boot/extlinux"
  cat >"$root/boot/extlinux/extlinux.conf" <<CONF
SERIAL 0 115200
DEFAULT debian
LABEL debian
  LINUX /boot/$(cd "$root/boot" && ls vmlinuz-* | tail -1)
  INITRD /boot/$(cd "$root/boot" && ls initrd.img-* | tail -1)
  APPEND root=LABEL=root rw console=ttyS0,115200 quiet
CONF
}

if [ "$how" = new ]; then
  truncate -s "$size" "$raw"
  parted -s "$raw" mklabel msdos mkpart primary ext4 1MiB 100% set 1 boot on 2>>"$log"
  dd if=/usr/lib/EXTLINUX/mbr.bin of="$raw" bs=440 count=1 conv=notrunc status=none
  attach
  mkfs.ext4 -q -L root "$loop"
  mount "$loop" "$root"
  logged mmdebstrap --mode=root --variant=important --skip=check/empty --dpkgopt=force-unsafe-io \
    --include="linux-image-cloud-amd64,initramfs-tools,systemd-sysv,udev,e2fsprogs,qemu-guest-agent,$packages" bookworm "$root"
  boots
else
  qemu-img convert -O raw "$in" "$raw"
  attach
  mount -o discard "$loop" "$root"
  for d in proc dev sys; do mount --bind /$d "$root/$d"; done
  # The package sources are this machine's, and no service is started.
  cp -L /etc/resolv.conf "$root/etc/"
  cp -r /etc/apt/sources.list* /etc/apt/apt.conf.d "$root/etc/apt/" 2>/dev/null || true
  printf '#!/bin/sh\nexit 101\n' >"$root/usr/sbin/policy-rc.d"
  chmod +x "$root/usr/sbin/policy-rc.d"
  logged env DEBIAN_FRONTEND=noninteractive chroot "$root" sh -ec "$commands"
  rm "$root/usr/sbin/policy-rc.d"
  for d in sys dev proc; do umount "$root/$d"; done
fi

fstrim "$root"
umount "$root"
losetup -d "$loop"
loop=
qemu-img convert -f raw -O qcow2 "$raw" "$out"
