// Package restore writes the items of a snapshot to files and block devices.
//
// A disk is written as qcow2 or raw, any other item as the bytes it holds. The
// content is a range of windows that a few workers read, which proves every
// chunk, and write. What is zero is left a hole in a file, and is zeroed on a
// device, whose old content is not ours to trust.
//
// A file appears under its name only when it is whole and durable: it is
// written under a hidden temporary name in the directory it is to stand in,
// fsynced, renamed, and then its directory is fsynced. Without Options.Force
// the rename itself refuses to replace anything. After an error or when the
// context ends the temporary file is gone; after kill -9 it is left as
// .vaultfs-restore-*. A block device has no such protection: after an error it
// holds a part.
package restore
