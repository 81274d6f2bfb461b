package fusefs

import (
	"context"
	"syscall"

	"github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"
)

// insideNode is a directory of a snapshot: its own, or one in it. It never
// changes.
type insideNode struct {
	node
	snapshot *snapshot
	dir      *entry
}

var (
	_ fs.NodeGetattrer      = (*insideNode)(nil)
	_ fs.NodeLookuper       = (*insideNode)(nil)
	_ fs.NodeOpendirHandler = (*insideNode)(nil)
	_ fs.NodeStatfser       = (*insideNode)(nil)
)

// Getattr implements [fs.NodeGetattrer].
func (n *insideNode) Getattr(ctx context.Context, _ fs.FileHandle, out *fuse.AttrOut) syscall.Errno {
	n.owner.attr(&out.Attr, dirMode, 0, 0, n.snapshot.Time)
	out.SetTimeout(forever)
	return 0
}

// Lookup implements [fs.NodeLookuper].
func (n *insideNode) Lookup(ctx context.Context, name string, out *fuse.EntryOut) (*fs.Inode, syscall.Errno) {
	if e := n.enter(ctx, n.snapshot); e != 0 {
		return nil, e
	}
	defer n.leave(n.snapshot)
	child, e := n.child(ctx, name)
	switch {
	case e != 0:
		return nil, e
	case child == nil:
		return nil, syscall.ENOENT
	case child.form == treeRoot:
		out.SetEntryTimeout(forever)
		return n.lookupTree(ctx, name, n.snapshot, child, out)
	}
	out.SetEntryTimeout(forever)
	out.SetAttrTimeout(forever)
	id := insideIdentity(n.snapshot, child)
	if child.form == directory {
		n.owner.attr(&out.Attr, dirMode, 0, 0, n.snapshot.Time)
		return n.NewInode(ctx, &insideNode{node{tree: n.tree}, n.snapshot, child}, id), 0
	}
	file := &fileNode{node{tree: n.tree}, n.snapshot, child}
	if e := file.attr(ctx, &out.Attr); e != 0 {
		return nil, e
	}
	return n.NewInode(ctx, file, id), 0
}

// OpendirHandle implements [fs.NodeOpendirHandler].
func (n *insideNode) OpendirHandle(ctx context.Context, _ uint32) (fs.FileHandle, uint32, syscall.Errno) {
	if e := n.enter(ctx, n.snapshot); e != 0 {
		return nil, 0, e
	}
	entries := make([]fuse.DirEntry, 0, len(n.dir.names))
	for _, name := range n.dir.names {
		id := insideIdentity(n.snapshot, n.dir.children[name])
		entries = append(entries, fuse.DirEntry{Name: name, Mode: id.Mode, Ino: id.Ino})
	}
	if a, _ := n.archive(ctx); a != nil { // an error has been reported, and hides nothing else
		id := insideIdentity(n.snapshot, a)
		entries = append(entries, fuse.DirEntry{Name: a.path, Mode: id.Mode, Ino: id.Ino})
	}
	return &nameListing{entries: entries, leave: func() { n.leave(n.snapshot) }}, 0, 0
}

// enter sees to it that what is about to be looked at stays, until leave.
func (t *tree) enter(ctx context.Context, s *snapshot) syscall.Errno {
	if err := t.leases.enter(ctx, s); err != nil {
		return t.report.failed("entering "+s.path, err)
	}
	return 0
}

// leave is called once for each enter that succeeded, when what it was for is done
// or closed.
func (t *tree) leave(s *snapshot) { t.leases.leave(s) }

func insideIdentity(s *snapshot, e *entry) fs.StableAttr {
	mode := uint32(fileMode)
	if e.form == directory || e.form == treeRoot {
		mode = dirMode
	}
	return identity(mode, "snapshot", s.ID, e.path)
}
