// Package tree backs up a directory and all that is below it, as one tree of a
// snapshot: everything that stat(2), readlink(2) and listxattr(2) tell, and the
// files' contents with their holes.
//
// # The tree is alive, and may be hostile
//
// Others write to it while it is walked. Hence every name is looked up in an
// open directory, never by a path, and no symbolic link is followed but one
// that was given as the directory to back up. A directory is the one that
// O_DIRECTORY and O_NOFOLLOW opened; a file is opened without effect (O_PATH)
// until it has been seen to be a regular one, so that no fifo blocks and no
// device is touched. See open.go.
//
// What vanishes is left out, as if it had gone a moment earlier. A file that
// changes while it is read is read once more; if that does not help, what was
// read is kept and a warning says so. What cannot be read is named in a warning.
//
// # What has not changed is not read again
//
// The tree of the source's previous snapshot is walked beside the directory. A
// file of which size, mtime, ctime and inode are the same has its content taken
// over. A time stamp is only as fine as the clock of the file system: a file
// that was touched when the previous walk began, or later, may have been
// changed again without a trace, and is read. See previous.go.
//
// # Order and memory
//
// One goroutine walks and looks at everything in the order of the names, a few
// read files. Directories are stored as their entries become ready, each on its
// own, so that a large file keeps nothing waiting but the end of its own
// directory. How much may wait is bounded; see window.
package tree
