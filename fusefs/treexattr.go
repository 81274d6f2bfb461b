package fusefs

import (
	"context"
	"slices"
	"strings"
	"syscall"

	"github.com/hanwen/go-fuse/v2/fuse"
	"vaultfs/repo"
)

// trusted begins the names of extended attributes that only root is shown, by
// xattr(7).
const trusted = "trusted."

// Getxattr implements [fs.NodeGetxattrer], by the rules of getxattr(2).
func (n *treeNode) Getxattr(ctx context.Context, name string, dest []byte) (uint32, syscall.Errno) {
	e, failed := n.look(ctx, "reading the attributes of ")
	if failed != 0 {
		return 0, failed
	}
	i, found := slices.BinarySearchFunc(e.Xattrs, name, func(x repo.Xattr, name string) int { return strings.Compare(x.Name, name) })
	if !found {
		return 0, syscall.ENODATA
	}
	x := &e.Xattrs[i]
	if int(x.Size) > len(dest) {
		return x.Size, syscall.ERANGE
	}
	if e := n.enter(ctx, n.in.snapshot); e != 0 {
		return 0, e
	}
	defer n.leave(n.in.snapshot)
	value, err := n.in.Xattr(n.in.ctx(), x)
	if err != nil {
		return 0, n.report.failed("reading the attribute "+name+" of "+n.path(), err)
	}
	return uint32(copy(dest, value)), 0
}

// Listxattr implements [fs.NodeListxattrer], by the rules of listxattr(2).
func (n *treeNode) Listxattr(ctx context.Context, dest []byte) (uint32, syscall.Errno) {
	e, failed := n.look(ctx, "reading the attributes of ")
	if failed != 0 {
		return 0, failed
	}
	caller, ok := fuse.FromContext(ctx)
	all := ok && caller.Uid == 0
	var names []byte
	for i := range e.Xattrs {
		if name := e.Xattrs[i].Name; all || !strings.HasPrefix(name, trusted) {
			names = append(append(names, name...), 0)
		}
	}
	if len(names) > len(dest) {
		return uint32(len(names)), syscall.ERANGE
	}
	return uint32(copy(dest, names)), 0
}
