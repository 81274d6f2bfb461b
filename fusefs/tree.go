package fusefs

import (
	"context"
	"syscall"

	"github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"
)

// tree is what all nodes of one mount share.
type tree struct {
	repository Repository
	root       *sourceNode
	owner      owner
	report     *reporter
	flights    *flights
	catalog    *catalog
	disks      *shelf
	archives   *archives
	crowd      *crowd
	leases     *leases
}

func newTree(ctx context.Context, r Repository, pin Pin, another func(context.Context) (Pin, error), o owner, log func(string)) *tree {
	f := &flights{ctx: ctx}
	report := &reporter{log: log}
	disks := &shelf{repository: r, flights: f, known: map[string]*knownDisk{}}
	t := &tree{
		repository: r,
		owner:      o,
		report:     report,
		flights:    f,
		catalog:    &catalog{repository: r, flights: f, report: report},
		disks:      disks,
		archives:   &archives{repository: r, flights: f, report: report, disks: disks},
		crowd:      &crowd{limit: maxCrowd, work: &f.abandoned},
		leases:     &leases{flights: f, report: report, another: another, held: map[string]*holding{}, pin: pin},
	}
	t.root = &sourceNode{node: node{tree: t}}
	return t
}

// node is what all kinds of node have in common.
type node struct {
	fs.Inode
	*tree
}

// Statfs tells the length of names. The space that a repository takes is not the
// tree's.
func (n *node) Statfs(ctx context.Context, out *fuse.StatfsOut) syscall.Errno {
	out.NameLen = 255 // bytes; those that are made up are shorter
	out.Bsize, out.Frsize = blockSize, blockSize
	return 0
}

// Access implements [fs.NodeAccesser]. It is asked only where nobody but who
// mounted the tree can see it, and that is who may read all of the repository.
// Where others can, the kernel decides by modes and access control lists.
func (n *node) Access(_ context.Context, mask uint32) syscall.Errno {
	if mask&unix.W_OK != 0 {
		return syscall.EROFS
	}
	return 0
}

var (
	_ fs.NodeStatfser = (*node)(nil)
	_ fs.NodeAccesser = (*node)(nil)
)
