#!/bin/bash
# demo.sh VAULTFS: shows the main job on real input. A small Debian guest is started under libvirt
# and backed up twice while it runs; then the backup is proved, mounted, booted and read.
# Needs root and what `make deps` installs; leaves nothing behind but the cached guest image.
set -euo pipefail

vaultfs=$(realpath "${1:?usage: demo.sh VAULTFS}")
here=$(cd "$(dirname "$0")" && pwd)
export LIBVIRT_DEFAULT_URI=qemu:///system
guest=vaultfs-demo-$$ copy=vaultfs-demo-$$-overlay back=vaultfs-demo-$$-restored
work=$(mktemp -d /var/tmp/vaultfs-demo.XXXXXX)
chmod 755 "$work" # QEMU runs as a user of its own
mnt=$work/mnt

cleanup() {
  set +e
  for vm in "$copy" "$back" "$guest"; do
    virsh -q destroy "$vm"
    virsh -q undefine "$vm" --checkpoints-metadata
  done 2>/dev/null
  mountpoint -q "$work/fs" && umount "$work/fs"
  mountpoint -q "$mnt" && { "$vaultfs" umount "$mnt" || umount -l "$mnt"; }
  rm -rf "$work"
}
trap cleanup EXIT
trap 'exit 130' INT TERM

step() { printf '\n\033[1m== %s\033[0m\n' "$*"; }
run() { printf '$ %s\n' "${*/#$vaultfs/vaultfs}"; "$@"; }
seconds() { printf '   (%s s)\n' "$((SECONDS - $1))"; }

# in_guest NAME COMMAND: runs a shell command in a guest through its agent and prints what it printed.
in_guest() {
  local pid reply
  pid=$(virsh -q qemu-agent-command "$1" "{\"execute\":\"guest-exec\",\"arguments\":{\"path\":\"/bin/sh\",\"arg\":[\"-c\",\"$2\"],\"capture-output\":true}}" |
    sed -n 's/.*"pid": *\([0-9]*\).*/\1/p')
  for _ in $(seq 300); do
    reply=$(virsh -q qemu-agent-command "$1" "{\"execute\":\"guest-exec-status\",\"arguments\":{\"pid\":$pid}}")
    if grep -q '"exited": *true' <<<"$reply"; then
      sed -n 's/.*"out-data": *"\([^"]*\)".*/\1/p' <<<"$reply" | base64 -d
      grep -q '"exitcode": *0' <<<"$reply"
      return
    fi
    sleep 0.2
  done
  return 1
}

wait_agent() {
  local begin=$SECONDS
  until virsh -q qemu-agent-command "$1" '{"execute":"guest-ping"}' >/dev/null 2>&1; do
    [ $((SECONDS - begin)) -lt 240 ] || { echo "the agent of $1 does not answer" >&2; return 1; }
    sleep 1
  done
  echo "the agent of $1 answers after $((SECONDS - begin)) s"
}

# define NAME DISK: defines a guest with one qcow2 disk. Emulated, as not every machine has KVM.
define() {
  cat >"$work/$1.xml" <<XML
<domain type='qemu'>
  <name>$1</name><memory unit='MiB'>512</memory><vcpu>1</vcpu>
  <os><type arch='x86_64' machine='pc'>hvm</type></os><features><acpi/></features>
  <devices>
    <disk type='file' device='disk'><driver name='qemu' type='qcow2'/><source file='$2'/><target dev='vda' bus='virtio'/></disk>
    <serial type='pty'><target port='0'/></serial>
    <channel type='unix'><target type='virtio' name='org.qemu.guest_agent.0'/></channel>
    <rng model='virtio'><backend model='random'>/dev/urandom</backend></rng>
  </devices>
</domain>
XML
  virsh -q define "$work/$1.xml"
}

step "libvirt"
if ! virsh -q uri >/dev/null 2>&1; then
  echo "starting virtlogd and libvirtd"
  # Where udev has not done it: libvirt probes QEMU anew at every step if its user cannot open this.
  [ ! -e /dev/kvm ] || { chgrp kvm /dev/kvm && chmod 660 /dev/kvm; }
  virtlogd -d
  libvirtd -d
  for _ in $(seq 100); do virsh -q uri >/dev/null 2>&1 && break; sleep 0.2; done
fi
virsh -q uri

step "A small real Debian guest (made once, from Debian's packages)"
cache=/var/cache/vaultfs-test
mkdir -p "$cache"
image=$cache/guest-$(sha256sum "$here/../testguest/make-guest.sh" | cut -c1-12).qcow2
[ -e "$image" ] || { begin=$SECONDS; "$here/../testguest/make-guest.sh" "$image"; seconds $begin; }
cp --sparse=always "$image" "$work/disk.qcow2"
chmod 666 "$work/disk.qcow2"
qemu-img info "$work/disk.qcow2" | sed -n 's/^/   /;/virtual size\|disk size/p'
define "$guest" "$work/disk.qcow2"
virsh -q start "$guest"
wait_agent "$guest"

step "Make an encrypted repository"
export VAULTFS_REPO=$work/repo VAULTFS_PASSWORD_FILE=$work/password VAULTFS_STATE_DIR=$work/state
(umask 077; head -c 16 /dev/urandom | base64 >"$VAULTFS_PASSWORD_FILE")
run "$vaultfs" init

step "Back the running guest up, while it writes"
in_guest "$guest" "nohup sh -c 'while :; do date >>/root/log; dd if=/dev/urandom of=/root/busy bs=64k count=16 conv=fsync; sleep 1; done' >/dev/null 2>&1 &"
run "$vaultfs" ingest vm "$guest" --name demo

step "Change the guest: 20 MB of new files, and a letter"
in_guest "$guest" "dd if=/dev/urandom of=/root/new bs=1M count=20; echo 'Dear admin, I came back.' >/root/letter; sync"
letter=$(in_guest "$guest" "sha256sum </root/letter")
echo "the guest says that the SHA-256 of its letter is ${letter%% *}"

step "Back it up again: only what has changed is read"
run "$vaultfs" ingest vm "$guest" --name demo
virsh -q domstate "$guest"
virsh -q checkpoint-list "$guest"

step "Both snapshots, and what the second one cost"
run "$vaultfs" snapshots
run "$vaultfs" show vm/demo@latest
run du -sh --apparent-size "$VAULTFS_REPO"

step "Mount the repository and check the disk as QEMU sees it"
mkdir "$mnt"
chmod 711 "$work"
run "$vaultfs" mount "$mnt" --allow-other
run ls -l "$mnt/vm/demo" "$mnt/vm/demo/latest/" "$mnt/vm/demo/latest/disks"
disk=$(realpath "$mnt/vm/demo/latest/disks/vda.qcow2")
run qemu-img check "$disk"

step "Boot a second guest straight from the mounted disk, with an overlay for its writes"
virsh -q destroy "$guest"
run qemu-img create -q -f qcow2 -F qcow2 -b "$disk" "$work/overlay.qcow2"
chmod 666 "$work/overlay.qcow2"
define "$copy" "$work/overlay.qcow2"
virsh -q start "$copy"
wait_agent "$copy"
again=$(in_guest "$copy" "sha256sum </root/letter")
echo "the guest booted from the backup says ${again%% *}"
[ "$again" = "$letter" ] || { echo "which is another letter" >&2; exit 1; }
virsh -q destroy "$copy"

step "Copy one file back, without booting anything"
mkdir "$work/fs"
run mount -o ro,noload,loop,offset=1048576 "${disk%.qcow2}.raw" "$work/fs"
run cp "$work/fs/root/letter" "$work/letter"
cat "$work/letter"
[ "$(sha256sum <"$work/letter")" = "$letter" ] || { echo "this is another letter" >&2; exit 1; }

step "Back the guest's files up as a tree, too: not one of them differs in the mount"
run "$vaultfs" ingest tree "$work/fs" --name demo-files
until [ -e "$mnt/tree/demo-files/latest" ]; do sleep 0.2; done # new snapshots appear within a second
run rsync -aHAXn --checksum --delete --itemize-changes "$work/fs/" "$mnt/tree/demo-files/latest/" | tee "$work/differences"
[ $(wc -l <"$work/differences") = 1 ] || { echo "something differs" >&2; exit 1; }
run "$vaultfs" restore tree/demo-files:root/letter --to "$work/letter-from-tree"
[ "$(sha256sum <"$work/letter-from-tree")" = "$letter" ] || { echo "this is another letter" >&2; exit 1; }
umount "$work/fs"

step "Restore the disk to a file, and compare"
run "$vaultfs" restore vm/demo@latest:disks/vda.qcow2 --to "$work/restored.qcow2"
run qemu-img compare "$work/restored.qcow2" "$disk"

step "Bring the whole VM back in one command"
run "$vaultfs" restore vm/demo --define --name "$back" --disk-dir "$work/vm" --start
wait_agent "$back"
again=$(in_guest "$back" "sha256sum </root/letter")
[ "$again" = "$letter" ] || { echo "it says ${again%% *}, which is another letter" >&2; exit 1; }
echo "it has the letter"
virsh -q destroy "$back"

step "Prove every byte of the repository"
run "$vaultfs" verify --read-data

step "Unmount"
run "$vaultfs" umount "$mnt"

step "Done in $SECONDS s; cleaning up"
