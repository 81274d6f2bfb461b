package ingest

import (
	"context"
	"fmt"
	"io"

	"vaultfs/chunk"
	"vaultfs/repo"
)

// Sector is the unit in which the sizes of disks are counted, in bytes. QEMU
// rounds the size of a raw image up to it.
const Sector = 512

// CopyStream reads a raw disk of unknown size into the session, up to the end
// of r, and returns the root of the disk and its size, rounded up to whole
// sectors with zeros. Nothing is spooled: segments are read, cut and stored in
// turn. Where CopyStream returns because ctx is over, a Read of r may be going
// on; what it brings is dropped.
// Base is as that of CopyDiskFrom.
func CopyStream(ctx context.Context, s *repo.Session, r io.Reader, base *repo.Disk, p *Progress) (chunk.ID, int64, error) {
	w, c := s.NewDisk(), newSegmentCopier(s, nil, p)
	base, err := goOn(s, w, base)
	if err != nil {
		return chunk.ID{}, 0, err
	}
	t := stream{r: r, copier: c}
	for i := int64(0); !t.ended; i++ {
		m, err := c.cut(ctx, c.storeFrom(c.segmentOf(base, i)), t.segment)
		if err == nil {
			err = w.SetSegment(ctx, c.lane, i, m)
		}
		if err != nil {
			return chunk.ID{}, 0, err
		}
	}
	size := (t.size + Sector - 1) / Sector * Sector
	root, err := w.Finish(ctx, s.Lane(), size)
	return root, size, err
}

// A stream is a disk of which only the next bytes can be had.
type stream struct {
	r      io.Reader
	copier *segmentCopier
	size   int64 // read so far
	ended  bool
}

// segment sends the next segment as windows. The last one of a stream may be
// empty: it tells the cutter that nothing follows.
func (t *stream) segment(ctx context.Context, full chan<- window) error {
	for off := int64(0); off < t.copier.size && !t.ended; {
		var w window
		select {
		case w.buf = <-t.copier.free:
		case <-ctx.Done():
			return ctx.Err()
		}
		space := min(windowSize, t.copier.size-off)
		n, err := t.fill(ctx, w.buf[chunk.DiskMax:chunk.DiskMax+space])
		if err != nil {
			return fmt.Errorf("reading the stream at %d: %w", t.size, err)
		}
		t.size += int64(n)
		t.copier.p.Read.Add(int64(n))
		w.off, w.n = off, (n+chunk.Grain-1)/chunk.Grain*chunk.Grain
		clear(w.buf[chunk.DiskMax+n : chunk.DiskMax+w.n])
		off += int64(w.n)
		w.ends = t.ended || off == t.copier.size
		full <- w
	}
	return nil
}

// fill reads p from the stream; fewer bytes are its end. A reader that hangs
// is left behind, with p, when ctx is over.
func (t *stream) fill(ctx context.Context, p []byte) (n int, err error) {
	type result struct {
		n   int
		err error
	}
	done := make(chan result, 1)
	go func() {
		n, err := chunk.ReadFull(t.r, p)
		done <- result{n, err}
	}()
	select {
	case got := <-done:
		n, err = got.n, got.err
	case <-ctx.Done():
		return 0, ctx.Err()
	}
	if err == io.EOF {
		t.ended, err = true, nil
	}
	return n, err
}
