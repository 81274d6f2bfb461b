package fusefs

import (
	"context"
	"sync/atomic"
	"syscall"

	"github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"
	"vaultfs/repo"
)

// treeDir is a directory of a stored tree.
type treeDir struct {
	treeNode
	dir   *repo.Entry
	shown atomic.Int64 // files, since the crowd was thinned last
}

var (
	_ fs.NodeLookuper       = (*treeDir)(nil)
	_ fs.NodeOpendirHandler = (*treeDir)(nil)
)

// Lookup implements [fs.NodeLookuper].
func (n *treeDir) Lookup(ctx context.Context, name string, out *fuse.EntryOut) (*fs.Inode, syscall.Errno) {
	if e := n.enter(ctx, n.in.snapshot); e != 0 {
		return nil, e
	}
	defer n.leave(n.in.snapshot)
	e, err := n.in.Lookup(n.in.ctx(), n.dir, name)
	if err != nil {
		return nil, n.report.failed("looking up "+join(n.path(), name), err)
	}
	return n.child(ctx, e, name, out), 0
}

// child makes the node of an entry, and its attributes.
func (n *treeDir) child(ctx context.Context, e *repo.Entry, name string, out *fuse.EntryOut) *fs.Inode {
	out.SetEntryTimeout(forever)
	out.SetAttrTimeout(forever)
	entryAttr(&out.Attr, e)
	var made fs.InodeEmbedder
	switch {
	case e.IsDir():
		made = &treeDir{treeNode: n.below(name), dir: alone(e)}
	case e.IsRegular():
		made = &treeFile{n.below(name)}
	case e.IsSymlink():
		made = &treeLink{n.below(name)}
	default:
		special := n.below(name)
		made = &special
	}
	if !e.IsDir() {
		n.crowd.shown(n)
	}
	return n.NewInode(ctx, made, n.in.identityOf(n.StableAttr(), e))
}

func (n *treeDir) below(name string) treeNode {
	return treeNode{node{tree: n.tree}, n.in, n, name}
}

// alone is a directory's entry without what else was read with it: only what it
// takes to read the directory.
func alone(e *repo.Entry) *repo.Entry {
	return &repo.Entry{Mode: e.Mode, Content: e.Content, Below: e.Below}
}

// OpendirHandle implements [fs.NodeOpendirHandler]. What the kernel has listed
// it may list again by itself.
func (n *treeDir) OpendirHandle(ctx context.Context, _ uint32) (fs.FileHandle, uint32, syscall.Errno) {
	if e := n.enter(ctx, n.in.snapshot); e != 0 {
		return nil, 0, e
	}
	return &treeListing{dir: n}, fuse.FOPEN_CACHE_DIR | fuse.FOPEN_KEEP_CACHE, 0
}
