package fusefs

import (
	"context"
	"fmt"
	"io"
	"iter"

	"vaultfs/internal/qcow2"
	"vaultfs/internal/vma"
	"vaultfs/repo"
)

// Repository is where the snapshots come from. Its methods are called
// concurrently.
type Repository interface {
	// Snapshots lists what could be read, oldest first, beside an error that
	// joins one for each snapshot that could not.
	Snapshots(ctx context.Context) ([]*repo.Snapshot, error)
	OpenDisk(ctx context.Context, it repo.Item) (Disk, error)
	OpenFile(ctx context.Context, it repo.Item) (File, error)
	OpenTree(ctx context.Context, it repo.Item) (Tree, error)
	// Pin makes a read lease that names no snapshot yet. The purpose is shown to
	// others.
	Pin(ctx context.Context, purpose string) (Pin, error)
}

// Disk is an open disk. It holds nothing that would have to be closed.
type Disk interface {
	qcow2.Source
	vma.Source
	Allocated() int64 // bytes that are not in holes
	// NextData is the offset of the first data at or after off, and io.EOF
	// when there is none.
	NextData(off int64) (int64, error)
	// NextHole is the offset of the first hole at or after off; the disk's end
	// is one.
	NextHole(off int64) (int64, error)
	// Prefetch has n bytes from off on made ready in the background, and
	// returns at once. It is asked for overlapping ranges again and again: what
	// is ready or under way is not begun twice.
	Prefetch(off, n int64)
}

// File is an open file of a snapshot, such as domain.xml. It holds nothing that
// would have to be closed.
type File interface {
	io.ReaderAt
	Size() int64 // bytes
}

// Tree is an open tree of files. It holds nothing that would have to be closed,
// and what it returns is not changed.
type Tree interface {
	// Root is the entry of the tree itself, which has no name.
	Root() *repo.Entry
	// Lookup finds a name in a directory. One that is not there is repo.ErrNotFound.
	Lookup(ctx context.Context, dir *repo.Entry, name string) (*repo.Entry, error)
	// Entries gives the entries of a directory whose names come after one, in
	// the order of their bytes, or all after "". An error is the last it gives.
	Entries(ctx context.Context, dir *repo.Entry, after string) iter.Seq2[*repo.Entry, error]
	// Open opens a regular file.
	Open(ctx context.Context, e *repo.Entry) (File, error)
	// Xattr returns the value of an extended attribute.
	Xattr(ctx context.Context, x *repo.Xattr) ([]byte, error)
}

// Pin is a read lease.
type Pin interface {
	// Add names further snapshots. It is not called concurrently. One that is
	// gone is repo.ErrNotFound.
	Add(ctx context.Context, s ...*repo.Snapshot) error
	// Remove gives snapshots free, and is not called concurrently either. The
	// others stay named all the while.
	Remove(ctx context.Context, s ...*repo.Snapshot) error
	// Held is repo.ErrLeaseBroken if somebody has broken the lease.
	Held(ctx context.Context) error
	Release(ctx context.Context) error
}

// FromRepo is the Repository that Mount shows in earnest.
func FromRepo(r *repo.Repo) Repository { return opened{r} }

type opened struct{ *repo.Repo }

func (o opened) OpenDisk(ctx context.Context, it repo.Item) (Disk, error) {
	d, err := o.Repo.OpenDisk(ctx, it)
	if err != nil {
		return nil, err
	}
	if err := d.Check(); err != nil {
		return nil, fmt.Errorf("disk %s: %w", it.Name, err)
	}
	return d, nil
}

func (o opened) OpenFile(ctx context.Context, it repo.Item) (File, error) {
	f, err := o.Repo.OpenFile(ctx, it)
	if err != nil {
		return nil, err
	}
	return f, nil
}

func (o opened) OpenTree(ctx context.Context, it repo.Item) (Tree, error) {
	t, err := o.Repo.OpenTree(ctx, it)
	if err != nil {
		return nil, err
	}
	return openedTree{t}, nil
}

func (o opened) Pin(ctx context.Context, purpose string) (Pin, error) {
	return o.Repo.Pin(ctx, purpose)
}

type openedTree struct{ *repo.Tree }

func (t openedTree) Open(ctx context.Context, e *repo.Entry) (File, error) {
	f, err := t.Tree.Open(ctx, e)
	if err != nil {
		return nil, err
	}
	return f, nil
}
