package fusefs

import (
	"context"
	"encoding/binary"
	"errors"
	"syscall"

	"github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"
	"vaultfs/repo"
)

// storedTree is an open tree of a snapshot.
type storedTree struct {
	Tree
	shared   *tree
	snapshot *snapshot
	entry    *entry
}

// lookupTree finds or makes the node of a tree's root below n, and its attributes.
func (n *node) lookupTree(ctx context.Context, name string, s *snapshot, e *entry, out *fuse.EntryOut) (*fs.Inode, syscall.Errno) {
	out.SetAttrTimeout(forever)
	id := insideIdentity(s, e)
	if known := n.GetChild(name); known != nil && known.StableAttr() == id {
		entryAttr(&out.Attr, known.Operations().(*treeDir).dir)
		return known, 0
	}
	opened, failed := n.openTree(ctx, s, e)
	if failed != 0 {
		return nil, failed
	}
	in := &storedTree{opened, n.tree, s, e}
	entryAttr(&out.Attr, in.Root())
	return n.NewInode(ctx, &treeDir{treeNode: treeNode{node: node{tree: n.tree}, in: in}, dir: in.Root()}, id), 0
}

// openTree opens a tree. Listing a source, which shows the attributes of trees,
// takes no lease; only where one cannot be read it is entered, and then it is either
// gone or damaged.
func (n *node) openTree(ctx context.Context, s *snapshot, e *entry) (Tree, syscall.Errno) {
	open := func() (any, error) {
		return n.flights.do(ctx, "tree "+s.ID+" "+e.path, func(ctx context.Context) (any, error) {
			return n.repository.OpenTree(ctx, e.item)
		})
	}
	opened, err := open()
	if errors.Is(err, repo.ErrDamaged) {
		if gone := n.enter(ctx, s); gone != 0 {
			return nil, gone
		}
		defer n.leave(s)
		opened, err = open()
	}
	if err != nil {
		return nil, n.report.failed("opening "+join(s.path, e.path), err)
	}
	return opened.(Tree), 0
}

// ctx bounds the reading of nodes. A signal to a process that waits is no reason
// to give up: it is a read like any other.
func (t *storedTree) ctx() context.Context { return t.shared.flights.ctx }

// identityOf is the inode number of an entry of a directory. The names of one
// file have the same. What they would show counts too: should it differ, the
// source changed while it was read, and each name shows its own.
func (t *storedTree) identityOf(dir fs.StableAttr, e *repo.Entry) fs.StableAttr {
	if e.Links > 1 && e.Inode != 0 && !e.IsDir() {
		return identity(e.Mode, "linked", t.snapshot.ID, t.entry.path, numbers(uint64(e.Device), e.Inode),
			e.Target, string(e.Content.ID[:]), string(e.Content.Ranges[:]))
	}
	return identity(e.Mode, "below", numbers(dir.Ino, dir.Gen), e.Name)
}

func numbers(a, b uint64) string {
	return string(binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint64(nil, a), b))
}

// treeNode is what all files of a stored tree have in common. It does not hold
// its entry, which would keep all the entries that were read with it: a mount
// may have a million of these.
type treeNode struct {
	node
	in     *storedTree
	parent *treeDir // nil for the root
	name   string   // in parent: of a file of several names the one that was found first
}

var (
	_ fs.NodeGetattrer   = (*treeNode)(nil)
	_ fs.NodeGetxattrer  = (*treeNode)(nil)
	_ fs.NodeListxattrer = (*treeNode)(nil)
	_ fs.NodeStatfser    = (*treeNode)(nil)
)

// path names the file for reports.
func (n *treeNode) path() string {
	if n.parent == nil {
		return join(n.in.snapshot.path, n.in.entry.path)
	}
	return join(n.parent.path(), n.name)
}

// entry finds the node's entry again.
func (n *treeNode) entry() (*repo.Entry, error) {
	if n.parent == nil {
		return n.in.Root(), nil
	}
	return n.in.Lookup(n.in.ctx(), n.parent.dir, n.name)
}

// look finds the entry for a request. That of the root is in memory, and so shown
// to whoever lists the source without a lease.
func (n *treeNode) look(ctx context.Context, doing string) (*repo.Entry, syscall.Errno) {
	if n.parent != nil {
		if e := n.enter(ctx, n.in.snapshot); e != 0 {
			return nil, e
		}
		defer n.leave(n.in.snapshot)
	}
	e, err := n.entry()
	if err != nil {
		return nil, n.report.failed(doing+n.path(), err)
	}
	return e, 0
}

// Getattr implements [fs.NodeGetattrer].
func (n *treeNode) Getattr(ctx context.Context, _ fs.FileHandle, out *fuse.AttrOut) syscall.Errno {
	e, failed := n.look(ctx, "reading the attributes of ")
	if failed != 0 {
		return failed
	}
	entryAttr(&out.Attr, e)
	out.SetTimeout(forever)
	return 0
}

// entryAttr makes the attributes of an entry: those that it had in the source.
func entryAttr(a *fuse.Attr, e *repo.Entry) {
	a.Mode = e.Mode
	a.Nlink = links(e)
	a.Size = size(e)
	a.Blksize = blockSize
	a.Blocks = blocks(e)
	a.Uid, a.Gid = e.UID, e.GID
	a.Rdev = device(e.Rdev)
	ctime := e.Ctime
	if ctime == (repo.Timestamp{}) {
		ctime = e.Mtime
	}
	// Of times before 1970 the seconds are negative in 64 bits, as the kernel takes them.
	a.Mtime, a.Mtimensec = uint64(e.Mtime.Sec), e.Mtime.Nsec
	a.Atime, a.Atimensec = a.Mtime, a.Mtimensec
	a.Ctime, a.Ctimensec = uint64(ctime.Sec), ctime.Nsec
}

// links is the number of links. Where it is unknown, a directory with others
// below has 1, which tells programs not to conclude anything from it.
func links(e *repo.Entry) uint32 {
	switch {
	case e.Links > 0:
		return e.Links
	case e.IsDir() && e.Below.Dirs == 0:
		return 2
	}
	return 1
}

func size(e *repo.Entry) uint64 {
	if e.IsSymlink() {
		return uint64(len(e.Target))
	}
	return uint64(e.Content.Size)
}

// blocks is what the file took in the source, in units of 512 bytes. A tar archive
// does not know; then it is what a file without holes takes.
func blocks(e *repo.Entry) uint64 {
	if e.Blocks == 0 && e.Inode == 0 && e.IsRegular() && e.Content.Ranges.IsZero() {
		return (size(e) + blockSize - 1) / blockSize * (blockSize / sector)
	}
	return e.Blocks
}

// device is the number of a device as the kernel takes it from FUSE: new_encode_dev
// in include/linux/kdev_t.h, with 12 bits of major and 20 of minor.
func device(rdev uint64) uint32 {
	major, minor := uint32(rdev>>32), uint32(rdev)
	return minor&0xff | major<<8 | minor&^0xff<<12
}

// treeLink is a symbolic link of a stored tree.
type treeLink struct{ treeNode }

var _ fs.NodeReadlinker = (*treeLink)(nil)

// Readlink implements [fs.NodeReadlinker].
func (n *treeLink) Readlink(ctx context.Context) ([]byte, syscall.Errno) {
	e, failed := n.look(ctx, "reading the link ")
	if failed != 0 {
		return nil, failed
	}
	return []byte(e.Target), 0
}
