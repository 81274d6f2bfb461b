package ingest

import (
	"context"

	"vaultfs/internal/nbd"
)

// Exported is the Image of a disk that an NBD server shows.
type Exported struct{ *nbd.Client }

// Data is the runs that may hold other than zeros.
func (e Exported) Data(ctx context.Context, off, n int64) ([]Run, error) {
	extents, err := e.Client.Data(ctx, off, n)
	runs := make([]Run, len(extents))
	for i, x := range extents {
		runs[i] = Run{Off: x.Offset, Len: x.Length}
	}
	return runs, err
}

// Dirty is the runs that a dirty bitmap marks; bitmap is NBD's name of it.
func (e Exported) Dirty(ctx context.Context, bitmap string, off, n int64) (runs []Run, err error) {
	extents, err := e.BlockStatus(ctx, bitmap, off, n)
	for _, x := range extents {
		if x.Flags&nbd.BitmapDirty != 0 {
			runs = append(runs, Run{Off: x.Offset, Len: x.Length})
		}
	}
	return runs, err
}
