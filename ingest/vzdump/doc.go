// Package vzdump backs up the archives that vzdump of Proxmox VE writes: VMA of
// virtual machines and tar of containers, plain or compressed.
//
// The source is vzdump/VMID, by the archive's name, or vzdump/NAME. Its machine
// is the UUID in the guest's configuration, "qemu" if there is none, and "lxc"
// for a container: two guests that had the same number one after the other are
// told apart, and the second is refused unless it is agreed to with --adopt or
// gets a name of its own.
//
// A snapshot of a virtual machine holds its drives as disks, under their names in
// the archive ("drive-scsi0"), and its configuration as files. One of a container
// holds the tree "rootfs", and the configuration that is in it as files, too.
// Both hold archive.json, a [vma.Description], and, if they lie beside the
// archive, what a person has noted of it and vzdump's log.
//
// An archive is read once, from its beginning to its end. Of a VMA, in which the
// clusters of all drives may come in any order, whole segments are cut and stored
// as soon as their last cluster has come: see assembler.
package vzdump
