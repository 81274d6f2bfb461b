package fusefs

import (
	"context"
	"syscall"

	"github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"
)

// nameListing is an open directory outside of trees. It lists names without
// attributes, since the size of a .qcow2 file is known only after its disk has
// been opened. The offset of an entry is its number, from 1.
type nameListing struct {
	entries []fuse.DirEntry
	given   int
	leave   func() // is called when it is closed; nil outside of snapshots
}

var (
	_ fs.FileReaddirenter = (*nameListing)(nil)
	_ fs.FileSeekdirer    = (*nameListing)(nil)
	_ fs.FileLookuper     = (*nameListing)(nil)
	_ fs.FileReleasedirer = (*nameListing)(nil)
)

// Readdirent implements [fs.FileReaddirenter].
func (l *nameListing) Readdirent(context.Context) (*fuse.DirEntry, syscall.Errno) {
	if l.given == len(l.entries) {
		return nil, 0
	}
	e := l.entries[l.given]
	l.given++
	e.Off = uint64(l.given)
	return &e, 0
}

// Seekdir implements [fs.FileSeekdirer].
func (l *nameListing) Seekdir(_ context.Context, off uint64) syscall.Errno {
	l.given = int(min(off, uint64(len(l.entries))))
	return 0
}

// Lookup implements [fs.FileLookuper]. An error makes an entry without
// attributes; the kernel asks for them when they are wanted.
func (l *nameListing) Lookup(context.Context, string, *fuse.EntryOut) (*fs.Inode, syscall.Errno) {
	return nil, syscall.ENOSYS
}

// Releasedir implements [fs.FileReleasedirer].
func (l *nameListing) Releasedir(context.Context, uint32) {
	if l.leave != nil {
		l.leave()
	}
}
