package ingest

import (
	"context"
	"math/rand/v2"
	"runtime"

	"golang.org/x/sync/errgroup"
	"vaultfs/chunk"
)

// An auditSegment is a segment with its dirty runs and its data, tidy.
type auditSegment struct {
	i           int64
	dirty, data []Run
}

// share compares a share of all pieces.
func (a *audit) share(ctx context.Context, share float64) error {
	workers, ctx := errgroup.WithContext(ctx)
	segments := make(chan auditSegment)
	workers.Go(func() error {
		defer close(segments)
		return a.deal(ctx, segments)
	})
	for range min(int64(runtime.GOMAXPROCS(0)), maxWorkers, int64(a.base.Segments())) {
		workers.Go(func() error {
			buf, due := make([]byte, chunk.DiskMax), rand.Float64()
			for g := range segments {
				all, err := a.pieces(g.i, g.dirty, g.data)
				if err != nil {
					return err
				}
				for _, c := range all {
					if due += share; due < 1 {
						continue
					}
					due--
					if err := a.compare(ctx, c, buf); err != nil {
						return err
					}
				}
			}
			return nil
		})
	}
	return workers.Wait()
}

// deal hands out all segments in which base or the image has data.
func (a *audit) deal(ctx context.Context, segments chan<- auditSegment) error {
	size, count := a.base.SegmentSize(), int64(a.base.Segments())
	for i := int64(0); i < count; {
		off := i * size
		n := min(max(stretch, size), a.img.Size()-off)
		dirty, data, err := a.ask(ctx, off, n)
		if err != nil {
			return err
		}
		for ; i < count && i*size < off+n; i++ {
			g := auditSegment{i, within(dirty, i*size, size), within(data, i*size, size)}
			if stored, err := a.base.HasData(int(i)); err == nil && !stored && len(g.data) == 0 {
				continue
			}
			select {
			case segments <- g:
			case <-ctx.Done():
				return ctx.Err()
			}
		}
	}
	return nil
}
