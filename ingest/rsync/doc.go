// Package rsync backs up a directory of this or another host through a mirror
// that the real rsync keeps, so that the other host needs nothing but rsync and
// only what has changed crosses the network.
//
// The mirror is a copy of the whole directory in the state directory: it takes
// as much room on this host as the directory takes on the other. rsync leaves
// alone what has not changed, so that the walk of the mirror, which is that of
// package tree, reads only what rsync has just written.
//
// One run at a time has a mirror, held by a lock that rsync inherits: if this
// program is killed, the next run waits until rsync has ended as well. A mirror
// belongs to the source that it was first made of. No argument reaches a shell
// of this host.
package rsync
