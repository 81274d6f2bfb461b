package fusefs

import (
	"context"
	"strings"
	"syscall"

	"github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"
)

// treeFile is a regular file of a stored tree.
type treeFile struct{ treeNode }

var _ fs.NodeOpener = (*treeFile)(nil)

// Open implements [fs.NodeOpener].
func (n *treeFile) Open(ctx context.Context, flags uint32) (fs.FileHandle, uint32, syscall.Errno) {
	if flags&syscall.O_ACCMODE != syscall.O_RDONLY {
		return nil, 0, syscall.EROFS
	}
	if e := n.enter(ctx, n.in.snapshot); e != 0 {
		return nil, 0, e
	}
	c, err := n.open()
	if err != nil {
		n.leave(n.in.snapshot)
		return nil, 0, n.report.failed("opening "+n.path(), err)
	}
	return &handle{content: c, path: n.path(), report: n.report, leave: func() { n.leave(n.in.snapshot) }}, fuse.FOPEN_KEEP_CACHE, 0
}

func (n *treeFile) open() (content, error) {
	e, err := n.entry()
	switch {
	case err != nil:
		return nil, err
	case e.Content.Size == 0:
		return strings.NewReader(""), nil
	}
	return n.in.Open(n.in.ctx(), e)
}
