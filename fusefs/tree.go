package fusefs

import (
	"context"
	"syscall"

	"github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"
)

// tree is what all nodes of one mount share.
type tree struct {
	repository Repository
	owner      owner
	report     *reporter
	flights    *flights
	catalog    *catalog
	disks      *shelf
	leases     *leases
}

func newTree(ctx context.Context, r Repository, pin Pin, o owner, log func(string)) *tree {
	f := &flights{ctx: ctx}
	report := &reporter{log: log}
	return &tree{
		repository: r,
		owner:      o,
		report:     report,
		flights:    f,
		catalog:    &catalog{repository: r, flights: f, report: report},
		disks:      &shelf{repository: r, flights: f, known: map[string]*knownDisk{}},
		leases:     &leases{flights: f, report: report, pin: pin},
	}
}

// node is what all kinds of node have in common.
type node struct {
	fs.Inode
	*tree
}

// Statfs tells the length of names. The space that a repository takes is not the
// tree's.
func (n *node) Statfs(ctx context.Context, out *fuse.StatfsOut) syscall.Errno {
	out.NameLen = maxName
	out.Bsize = blockSize
	return 0
}

var _ fs.NodeStatfser = (*node)(nil)
