package fusefs

import (
	"context"
	"fmt"
	"io"
	"syscall"

	"github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"
)

// fileNode is a file of a snapshot.
type fileNode struct {
	node
	snapshot *snapshot
	entry    *entry
}

var (
	_ fs.NodeGetattrer = (*fileNode)(nil)
	_ fs.NodeOpener    = (*fileNode)(nil)
	_ fs.NodeStatfser  = (*fileNode)(nil)
)

func (n *fileNode) path() string { return join(n.snapshot.path, n.entry.path) }

// Getattr implements [fs.NodeGetattrer].
func (n *fileNode) Getattr(ctx context.Context, _ fs.FileHandle, out *fuse.AttrOut) syscall.Errno {
	if e := n.enter(ctx, n.snapshot); e != 0 {
		return e
	}
	defer n.leave(n.snapshot)
	out.SetTimeout(forever)
	return n.attr(ctx, &out.Attr)
}

func (n *fileNode) attr(ctx context.Context, a *fuse.Attr) syscall.Errno {
	mode, size, allocated := uint32(privateMode), n.entry.item.Size, n.entry.item.Size
	switch n.entry.form {
	case vmaArchive: // private: it holds the configs
		var err error
		if size, err = n.archives.size(ctx, n.entry.archive); err != nil {
			return n.report.failed("opening "+n.path(), err)
		}
		allocated = size
	case rawDisk, qcow2Disk:
		mode = fileMode
		sizes, err := n.disks.sizes(ctx, n.entry.item)
		if err != nil {
			return n.report.failed("opening "+n.path(), err)
		}
		if size, allocated = sizes.raw, sizes.rawAllocated; n.entry.form == qcow2Disk {
			size, allocated = sizes.qcow2, sizes.qcow2
		}
	}
	n.owner.attr(a, mode, size, allocated, n.snapshot.Time)
	return 0
}

// Open implements [fs.NodeOpener]. The content never changes, so the kernel keeps
// the pages of earlier readers.
func (n *fileNode) Open(ctx context.Context, flags uint32) (fs.FileHandle, uint32, syscall.Errno) {
	if flags&syscall.O_ACCMODE != syscall.O_RDONLY {
		return nil, 0, syscall.EROFS
	}
	if e := n.enter(ctx, n.snapshot); e != 0 {
		return nil, 0, e
	}
	c, bulk, err := n.open(ctx)
	if err != nil {
		n.leave(n.snapshot)
		return nil, 0, n.report.failed("opening "+n.path(), err)
	}
	return &handle{content: c, bulk: bulk, path: n.path(), report: n.report, leave: func() { n.leave(n.snapshot) }}, fuse.FOPEN_KEEP_CACHE, 0
}

// open returns the content, and for a disk a reader of it that is past the
// read-ahead.
func (n *fileNode) open(ctx context.Context) (c content, bulk io.ReaderAt, err error) {
	switch n.entry.form {
	case vmaArchive:
		c, err = n.archives.open(ctx, n.entry.archive)
		return c, nil, err
	case plainFile:
		f, err := n.flights.do(ctx, fmt.Sprintf("file %v", n.entry.item.Root), func(ctx context.Context) (any, error) {
			return n.repository.OpenFile(ctx, n.entry.item)
		})
		if err != nil {
			return nil, nil, err
		}
		return f.(File), nil, nil
	}
	d, err := n.disks.get(ctx, n.entry.item)
	if err != nil {
		return nil, nil, err
	}
	if n.entry.form == qcow2Disk {
		return d.view, d.bulk, nil
	}
	return d, d.Disk, nil
}

// content is what is read through a handle.
type content interface {
	io.ReaderAt
	Size() int64 // bytes
}

// sparse is content that knows its holes.
type sparse interface {
	NextData(off int64) (int64, error)
	NextHole(off int64) (int64, error)
}
