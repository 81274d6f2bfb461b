// Package vm turns a libvirt guest into the items of one session: its disks, then all else that makes the guest, then a
// report.
//
// A guest that runs is read live, by one of two methods. The backup job (live.go): libvirt shows the disks as they were
// at one moment through QEMU's own NBD server, while the guest goes on writing; what it overwrites is kept in scratch
// files until the job ends, and a checkpoint made with the job marks what changes until the next one (checkpoint.go,
// plan.go). Overlays (overlay.go): an image over each disk takes what the guest writes while the images below are read,
// and is then committed into these. The guest's agent freezes the filesystems around the start only. A guest that is
// shut off, or is shut down for it (shutdown.go), is read offline, from its image files.
//
// Whatever happens, the guest ends in the state it was found in: a job that was begun is ended, an overlay committed, a
// guest that was frozen is thawed, one that stalled is resumed, one that was shut down is started. What is about to be
// done to a guest stands in a journal before it is done (journal.go), so that the next run, or Recover, can undo what a
// run that died has left (recover.go). If we are killed while the guest is frozen, another process thaws it at once
// (lifeline.go). A job of another program is never touched. FAULTS.md lists what can go wrong, and the tests of it.
//
// The scratch directory needs as much space as the guest overwrites while it is read. A job is not begun, and is stopped,
// when less is free there than space.go says.
package vm
