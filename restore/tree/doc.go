// Package tree puts a stored tree, a directory of it or one file back into a
// file system.
//
// Root gets back all that is stored: owners, modes, times to the nanosecond,
// extended attributes with access control lists and capabilities, hard links,
// holes, devices, fifos and sockets. Another user, or a file system that lacks
// some of this, gets as much as possible; the Report counts what was lost, and
// where. Flags as chattr(1) sets them and times of access are not stored.
//
// One goroutine walks the stored tree in its order, which is that of the names
// and mostly that of the data, and makes the directories; a few workers make
// everything else. A directory gets its own attributes, and so its times, when
// all below it is done; until then a new one is for its owner alone.
//
// The destination may belong to somebody hostile who changes it meanwhile.
// Every step is relative to the descriptor of an open directory and follows no
// symbolic link. Nothing that exists is written to: a file is made under a
// temporary name (.vaultfs-restore-*) in the directory it is to stand in, gets
// its content and then its attributes through its descriptor, and is renamed.
// So a file of the final name is whole, after kill -9 too, and a file that had
// several names keeps its old content under the others.
//
// What is restored is made durable at the end by one syncfs(2) for each file
// system; only a few entries get an fsync(2) each, which then is quicker. Until
// Restore has returned nothing need survive a power failure.
//
// An error concerns one entry and does not stop the others. Only a full or
// read-only file system, and the end of the context, end everything.
package tree
