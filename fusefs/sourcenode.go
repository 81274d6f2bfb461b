package fusefs

import (
	"context"
	"slices"
	"syscall"

	"github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"
)

// sourceNode is a directory outside of snapshots. What it holds is looked up in
// the catalog each time.
type sourceNode struct {
	node
	path string
}

var (
	_ fs.NodeGetattrer      = (*sourceNode)(nil)
	_ fs.NodeLookuper       = (*sourceNode)(nil)
	_ fs.NodeOpendirHandler = (*sourceNode)(nil)
	_ fs.NodeStatfser       = (*sourceNode)(nil)
)

func (n *sourceNode) dir(ctx context.Context) (*sourceDir, syscall.Errno) {
	root, err := n.catalog.root(ctx)
	if err != nil {
		return nil, n.report.failed("listing the snapshots", err)
	}
	if d := root.at(n.path); d != nil {
		return d, 0
	}
	return nil, syscall.ENOENT
}

// Getattr implements [fs.NodeGetattrer].
func (n *sourceNode) Getattr(ctx context.Context, _ fs.FileHandle, out *fuse.AttrOut) syscall.Errno {
	d, e := n.dir(ctx)
	if e != 0 {
		return e
	}
	n.owner.attr(&out.Attr, dirMode, 0, 0, d.time)
	out.SetTimeout(freshness)
	return 0
}

// Lookup implements [fs.NodeLookuper].
func (n *sourceNode) Lookup(ctx context.Context, name string, out *fuse.EntryOut) (*fs.Inode, syscall.Errno) {
	d, e := n.dir(ctx)
	if e != 0 {
		return nil, e
	}
	out.SetEntryTimeout(freshness)
	if sub := d.dirs[name]; sub != nil {
		n.owner.attr(&out.Attr, dirMode, 0, 0, sub.time)
		out.SetAttrTimeout(freshness)
		return n.NewInode(ctx, &sourceNode{node{tree: n.tree}, sub.path}, sourceIdentity(sub)), 0
	}
	out.SetAttrTimeout(forever)
	if s := d.snapshots[name]; s != nil {
		if s.inside().form == treeRoot {
			return n.lookupTree(ctx, name, s, s.inside(), out)
		}
		n.owner.attr(&out.Attr, dirMode, 0, 0, s.Time)
		return n.NewInode(ctx, &insideNode{node{tree: n.tree}, s, s.inside()}, insideIdentity(s, s.inside())), 0
	}
	if name == latestName && d.latest != nil {
		link := &latestNode{node{tree: n.tree}, d.latest}
		link.attr(&out.Attr)
		return n.NewInode(ctx, link, latestIdentity(d.latest)), 0
	}
	out.SetEntryTimeout(0)
	return nil, syscall.ENOENT
}

// OpendirHandle implements [fs.NodeOpendirHandler].
func (n *sourceNode) OpendirHandle(ctx context.Context, _ uint32) (fs.FileHandle, uint32, syscall.Errno) {
	d, e := n.dir(ctx)
	if e != 0 {
		return nil, 0, e
	}
	var entries []fuse.DirEntry
	add := func(name string, id fs.StableAttr) {
		entries = append(entries, fuse.DirEntry{Name: name, Mode: id.Mode, Ino: id.Ino})
	}
	for name, sub := range d.dirs {
		add(name, sourceIdentity(sub))
	}
	for name, s := range d.snapshots {
		add(name, insideIdentity(s, s.inside()))
	}
	if d.latest != nil {
		add(latestName, latestIdentity(d.latest))
	}
	slices.SortFunc(entries, func(a, b fuse.DirEntry) int {
		if a.Name < b.Name {
			return -1
		}
		return 1
	})
	return &nameListing{entries: entries}, 0, 0
}

func sourceIdentity(d *sourceDir) fs.StableAttr {
	return identity(dirMode, "source", d.path)
}

// latestNode is the link to the newest snapshot of a source, as long as that is
// the newest.
type latestNode struct {
	node
	target *snapshot
}

var (
	_ fs.NodeGetattrer  = (*latestNode)(nil)
	_ fs.NodeReadlinker = (*latestNode)(nil)
	_ fs.NodeStatfser   = (*latestNode)(nil)
)

func (n *latestNode) attr(a *fuse.Attr) {
	n.owner.attr(a, linkMode, int64(len(n.target.name)), 0, n.target.Time)
}

// Getattr implements [fs.NodeGetattrer].
func (n *latestNode) Getattr(ctx context.Context, _ fs.FileHandle, out *fuse.AttrOut) syscall.Errno {
	n.attr(&out.Attr)
	out.SetTimeout(forever)
	return 0
}

// Readlink implements [fs.NodeReadlinker].
func (n *latestNode) Readlink(ctx context.Context) ([]byte, syscall.Errno) {
	return []byte(n.target.name), 0
}

func latestIdentity(target *snapshot) fs.StableAttr {
	return identity(linkMode, "latest", target.ID, target.name)
}
