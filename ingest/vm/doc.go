// Package vm turns a libvirt guest into the items of one session: its disks, then its definition.
//
// A guest that runs is read live: libvirt's backup job in pull mode (virDomainBackupBegin) shows the disks as they
// were at one moment through QEMU's own NBD server, while the guest goes on writing; what it overwrites is kept in
// scratch files until the job ends. The guest's agent freezes the filesystems around the start of the job only. A
// guest that is shut off is read offline, through qemu-nbd.
//
// Whatever happens, the guest ends in the state it was found in: a job that was begun is ended, a guest that was frozen
// is thawed, one that stalled is resumed, scratch files and socket are removed. If we are killed while the guest is
// frozen, another process thaws it (see lifeline.go). What else a killed run left behind is known by the name of its
// directory and its lock (see scratch.go), and is cleaned up by the next run. A job of another program is never touched.
//
// The scratch directory needs as much space as the guest overwrites while it is read. A job is not begun, and is stopped,
// when less is free there than space.go says.
package vm
