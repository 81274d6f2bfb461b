package fusefs

import (
	"context"
	"fmt"
	"io"

	"vaultfs/internal/qcow2"
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
	// Pin makes a read lease that names no snapshot yet. The purpose is shown to
	// others.
	Pin(ctx context.Context, purpose string) (Pin, error)
}

// Disk is an open disk. It holds nothing that would have to be closed.
type Disk interface {
	qcow2.Source
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

// Pin is a read lease.
type Pin interface {
	// Add names further snapshots. It is not called concurrently. One that is
	// gone is repo.ErrNotFound.
	Add(ctx context.Context, s ...*repo.Snapshot) error
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

func (o opened) Pin(ctx context.Context, purpose string) (Pin, error) {
	return o.Repo.Pin(ctx, purpose)
}
