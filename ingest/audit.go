package ingest

import (
	"bytes"
	"context"
	"fmt"
	"sync/atomic"

	"vaultfs/chunk"
	"vaultfs/repo"
)

// AuditOptions says how much of what is clean Audit looks at.
type AuditOptions struct {
	// Share of the clean data, from 0 to 1. Which pieces are looked at is
	// drawn anew each time; they are spread evenly over the disk.
	Share float64
	// Budget is for a Share of 0: at most so many bytes are read, in random
	// places. It costs little on a disk of any size.
	Budget int64
}

// An AuditError says that bytes which are said not to have changed have.
type AuditError struct{ Off, Len int64 }

func (e *AuditError) Error() string {
	return fmt.Sprintf("%d bytes at %d are said not to have changed since the earlier snapshot, and are not what it holds", e.Len, e.Off)
}

// Audit reads from an image some of what dirty calls clean and compares it with
// base, the disk that the image was made into earlier. It returns how many bytes
// it has compared; if some are different the error is an AuditError, and nothing
// that dirty says can be relied on. The chunks of base are not read: their IDs
// tell what they hold. Where base has zeros, only what the image says may be
// data is looked at; chunks that are dirty in part are not.
func Audit(ctx context.Context, r *repo.Repo, img Image, dirty RunsFunc, base *repo.Disk, o AuditOptions, p *Progress) (int64, error) {
	if err := sameSize(img, base); err != nil {
		return 0, err
	}
	a := &audit{repo: r, img: img, dirty: dirty, base: base, p: p}
	var err error
	if o.Share > 0 {
		err = a.share(ctx, o.Share)
	} else {
		err = a.budget(ctx, o.Budget)
	}
	return a.compared.Load(), err
}

// An audit is one call of Audit.
type audit struct {
	repo     *repo.Repo
	img      Image
	dirty    RunsFunc
	base     *repo.Disk
	p        *Progress
	compared atomic.Int64 // bytes
}

// A piece is a clean range of the disk, of at most chunk.DiskMax bytes in whole
// grains.
type piece struct {
	off, n int64
	id     chunk.ID // of the chunk that base has there; zero for zeros
}

// pieces lists what can be compared in a segment, of which the dirty runs and
// those of the image's data are given.
func (a *audit) pieces(segment int64, dirty, data []Run) (all []piece, err error) {
	extents, err := a.base.Segment(int(segment))
	if err != nil {
		return nil, fmt.Errorf("segment %d of the earlier snapshot: %w", segment, err)
	}
	start := segment * a.base.SegmentSize()
	size := min(a.base.SegmentSize(), a.base.Size()-start)
	dirty = wholeGrains(within(dirty, start, size), start, size)
	left := dirty
	for _, e := range extents {
		if left = drop(left, e.Off); len(left) == 0 || left[0].Off >= e.Off+e.Len {
			all = append(all, piece{start + e.Off, e.Len, e.ID})
		}
	}
	zeros := without(wholeGrains(within(data, start, size), start, size), covered(extents))
	for _, r := range without(zeros, dirty) {
		for ; r.Len > 0; r = (Run{r.Off + chunk.DiskMax, r.Len - chunk.DiskMax}) {
			all = append(all, piece{off: start + r.Off, n: min(r.Len, chunk.DiskMax)})
		}
	}
	return all, nil
}

// compare reads a piece into buf, which has room for it.
func (a *audit) compare(ctx context.Context, c piece, buf []byte) error {
	p := buf[:c.n]
	n := min(c.n, a.img.Size()-c.off)
	a.p.Total.Add(n)
	if err := fill(ctx, a.img, p, c.off, a.p); err != nil {
		return err
	}
	a.p.Done.Add(n)
	if c.id.IsZero() && !isZero(p) || !c.id.IsZero() && a.repo.Identify(p) != c.id {
		return &AuditError{c.off, n}
	}
	a.compared.Add(n)
	return nil
}

// ask returns the dirty runs and the data of a range, tidy.
func (a *audit) ask(ctx context.Context, off, n int64) (dirty, data []Run, err error) {
	if dirty, err = ask(ctx, a.dirty, off, n); err != nil {
		return nil, nil, fmt.Errorf("asking what has changed: %w", err)
	}
	data, err = ask(ctx, a.img.Data, off, n)
	return dirty, data, err
}

// isZero tells whether p, at most chunk.DiskMax bytes, is all zeros.
func isZero(p []byte) bool {
	for ; len(p) > chunk.Grain; p = p[chunk.Grain:] {
		if !bytes.Equal(p[:chunk.Grain], zeroGrain[:]) {
			return false
		}
	}
	return bytes.Equal(p, zeroGrain[:len(p)])
}

var zeroGrain [chunk.Grain]byte
