package fusefs

import (
	"context"
	"strings"
	"syscall"

	"github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"
	"vaultfs/repo"
)

const (
	dots        = 2    // entries before those of the tree: "." and ".."
	listAtOnce  = 256  // entries that an open directory holds at most
	markedEvery = 4096 // entries; of these the name is remembered
)

// treeListing is an open directory of a stored tree, listed as it is read. The
// offset of an entry is its number, from 1. A reader that goes back begins again
// at a mark, so a million entries take no memory. go-fuse calls no two methods at
// once.
type treeListing struct {
	dir   *treeDir
	given uint64      // entries, or offset of the last one
	last  *repo.Entry // the last one, if it is one of the tree
	marks []string    // of the entry of offset dots + (i+1)*markedEvery

	ready []*repo.Entry // to be given next
	after string        // name of the last one that was read
	ended bool          // there are none after those
	err   error         // or this is why they cannot be read
}

var (
	_ fs.FileReaddirenter = (*treeListing)(nil)
	_ fs.FileSeekdirer    = (*treeListing)(nil)
	_ fs.FileLookuper     = (*treeListing)(nil)
	_ fs.FileReleasedirer = (*treeListing)(nil)
)

// Releasedir implements [fs.FileReleasedirer].
func (l *treeListing) Releasedir(context.Context, uint32) { l.dir.leave(l.dir.in.snapshot) }

// Readdirent implements [fs.FileReaddirenter].
func (l *treeListing) Readdirent(context.Context) (*fuse.DirEntry, syscall.Errno) {
	if l.given < dots {
		l.given++
		return l.dot(), 0
	}
	e, err := l.next()
	if err != nil {
		return nil, l.dir.report.failed("listing "+l.dir.path(), err)
	}
	if e == nil {
		return nil, 0
	}
	id := l.dir.in.identityOf(l.dir.StableAttr(), e)
	name := strings.Clone(e.Name) // the node that is made of it keeps the name, and nothing else that was read with it
	return &fuse.DirEntry{Name: name, Mode: id.Mode, Ino: id.Ino, Off: l.given}, 0
}

// dot is the first or the second entry.
func (l *treeListing) dot() *fuse.DirEntry {
	of, name := l.dir.EmbeddedInode(), "."
	if l.given == dots {
		name = ".."
		if _, parent := of.Parent(); parent != nil {
			of = parent
		}
	}
	return &fuse.DirEntry{Name: name, Mode: syscall.S_IFDIR, Ino: of.StableAttr().Ino, Off: l.given}
}

// next goes on by one entry of the tree, and returns nil at the end.
func (l *treeListing) next() (*repo.Entry, error) {
	if len(l.ready) == 0 && !l.ended && l.err == nil {
		l.read()
	}
	if len(l.ready) == 0 {
		return nil, l.err
	}
	l.last, l.ready = l.ready[0], l.ready[1:]
	l.given++
	if l.given == dots+uint64(len(l.marks)+1)*markedEvery {
		l.marks = append(l.marks, l.last.Name)
	}
	return l.last, nil
}

// read gets some entries ready.
func (l *treeListing) read() {
	l.ready = l.ready[:0]
	for e, err := range l.dir.in.Entries(l.dir.in.ctx(), l.dir.dir, l.after) {
		if err != nil {
			l.err = err
			return
		}
		l.ready, l.after = append(l.ready, e), e.Name
		if len(l.ready) == listAtOnce {
			return
		}
	}
	l.ended = true
}

// Seekdir implements [fs.FileSeekdirer].
func (l *treeListing) Seekdir(_ context.Context, off uint64) syscall.Errno {
	if off < l.given || l.given < dots {
		l.goBack(off)
	}
	for l.given < off {
		e, err := l.next()
		if err != nil {
			return l.dir.report.failed("listing "+l.dir.path(), err)
		}
		if e == nil {
			break // there is nothing to list after the end
		}
	}
	return 0
}

// goBack begins again at the last mark that is not after an offset.
func (l *treeListing) goBack(off uint64) {
	*l = treeListing{dir: l.dir, marks: l.marks, given: min(off, dots)}
	if off <= dots {
		return
	}
	if n := min((off-dots)/markedEvery, uint64(len(l.marks))); n > 0 {
		l.after = l.marks[n-1]
		l.given += n * markedEvery
	}
}

// Lookup implements [fs.FileLookuper]: the attributes of what was just listed.
func (l *treeListing) Lookup(ctx context.Context, name string, out *fuse.EntryOut) (*fs.Inode, syscall.Errno) {
	if l.given > maxTold {
		return nil, syscall.ENOSYS // names alone; the kernel asks for what is wanted
	}
	if l.last != nil && l.last.Name == name {
		return l.dir.child(ctx, l.last, name, out), 0
	}
	return l.dir.Lookup(ctx, name, out)
}
