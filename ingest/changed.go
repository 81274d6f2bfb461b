package ingest

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"runtime"
	"sync"
	"sync/atomic"

	"golang.org/x/sync/errgroup"
	"vaultfs/chunk"
	"vaultfs/repo"
)

// Changes is what CopyChanged made of a disk.
type Changes struct {
	Root chunk.ID // of the disk; zero if there is a Lie
	// Dirty is how many bytes of the disk may have changed: the runs as they
	// were given, neither widened to grains nor cut down to what holds data.
	Dirty int64
	// Kept and Cut count the segments that were taken over as they are, and
	// those in which something was dirty. With a Loss or a Lie both are 0.
	Kept, Cut int64
	// Loss is why the base could not give bytes that it should have, the first
	// reason that was met; Lost counts those that were missed. The disk was then
	// copied as a whole: what else the base holds may be lost in the same way.
	// It is a repo.ErrDamaged, or any other error of reading the repository.
	Lost int64
	Loss error
	// Lie is a place that is said not to have changed, and has: base has data
	// there, and the image says that it is zeros. Nothing else that is said of
	// the disk can be relied on, so that the copying ended there, and the caller
	// copies the disk as a whole. It is nil as long as nothing of the kind is
	// seen, which proves nothing.
	Lie *AuditError
}

// CopyChanged makes of an image the disk that CopyDisk makes of it, and reads
// only what may differ from an earlier state of it: dirty says where, and base,
// of the session's OpenBase, is the disk that was made then. Where more than
// half of a segment is dirty all of it is read, but never more than twice what
// ChangedBytes tells. That has been added to p.Total; what is read beyond it, or
// not at all, is accounted for here. If the base turns out to be damaged, all of
// the image is read: see Changes. The base has the size of the image.
func CopyChanged(ctx context.Context, s *repo.Session, img Image, dirty RunsFunc, base *repo.Disk, p *Progress) (*Changes, error) {
	if err := sameSize(img, base); err != nil {
		return nil, err
	}
	c := &changedCopy{session: s, disk: s.NewDisk(), img: img, dirty: dirty, base: base, p: p}
	workers, ctx2 := errgroup.WithContext(ctx)
	segments := make(chan changedSegment)
	workers.Go(func() error {
		defer close(segments)
		return c.deal(ctx2, segments)
	})
	for range min(int64(runtime.GOMAXPROCS(0)), maxWorkers, c.segments()) {
		workers.Go(func() error {
			w := &changedCopier{changedCopy: c}
			for g := range segments {
				if err := w.copy(ctx2, g); err != nil {
					return err
				}
			}
			return nil
		})
	}
	err := workers.Wait()
	switch {
	case err != nil:
		return nil, err
	case c.changes.Lie != nil:
		err = c.giveUp(ctx)
	case c.changes.Loss != nil:
		err = c.copyWhole(ctx)
	default:
		c.changes.Root, err = c.disk.Finish(ctx, s.Lane(), img.Size())
	}
	return &c.changes, err
}

// giveUp leaves what was not read yet unread, and tells the progress so.
func (c *changedCopy) giveUp(ctx context.Context) error {
	total, err := ChangedBytes(ctx, c.img, c.dirty)
	c.p.Total.Add(c.read.Load() - total)
	c.changes.Kept, c.changes.Cut = 0, 0
	return err
}

// copyWhole copies the disk without the base.
func (c *changedCopy) copyWhole(ctx context.Context) error {
	if err := c.giveUp(ctx); err != nil {
		return err
	}
	total, err := DataBytes(ctx, c.img)
	if err != nil {
		return err
	}
	c.p.Total.Add(total)
	c.changes.Root, err = CopyDisk(ctx, c.session, c.img, c.p)
	return err
}

func sameSize(img Image, base *repo.Disk) error {
	if base.Size() == img.Size() {
		return nil
	}
	return fmt.Errorf("the disk has %d bytes, and had %d in the snapshot that it is compared with", img.Size(), base.Size())
}

// stretch is how much of a disk is asked about at once, in bytes: a question
// costs about as much for a clean segment as for all of this.
const stretch = 1 << 30

// ChangedBytes adds up what is dirty and may hold data, in whole grains: what
// there is to read.
func ChangedBytes(ctx context.Context, img Image, dirty RunsFunc) (total int64, err error) {
	for off := int64(0); off < img.Size(); off += stretch {
		n := min(stretch, img.Size()-off)
		changed, err := ask(ctx, dirty, off, n)
		if err != nil {
			return 0, err
		}
		if len(changed) == 0 {
			continue
		}
		data, err := ask(ctx, img.Data, off, n)
		if err != nil {
			return 0, err
		}
		total += length(both(wholeGrains(changed, off, n), wholeGrains(data, off, n)))
	}
	return total, nil
}

// A changedSegment is a segment and its dirty runs, tidy.
type changedSegment struct {
	i     int64
	dirty []Run
}

// A changedCopy is one call of CopyChanged.
type changedCopy struct {
	session *repo.Session
	disk    *repo.DiskWriter
	img     Image
	dirty   RunsFunc
	base    *repo.Disk
	p       *Progress
	read    atomic.Int64 // bytes that ChangedBytes counts, of the segments that are done

	mu      sync.Mutex
	changes Changes
}

func (c *changedCopy) segments() int64 { return int64(c.base.Segments()) }

// deal takes over the segments that are clean, and hands out the others until
// it is known that all is to be copied.
func (c *changedCopy) deal(ctx context.Context, segments chan<- changedSegment) error {
	size := c.base.SegmentSize()
	for i := int64(0); i < c.segments(); {
		off := i * size
		n := min(max(stretch, size), c.img.Size()-off)
		dirty, err := ask(ctx, c.dirty, off, n)
		if err != nil {
			return fmt.Errorf("asking what has changed: %w", err)
		}
		data, err := ask(ctx, c.img.Data, off, n)
		if err != nil {
			return err
		}
		c.count(func(t *Changes) { t.Dirty += length(dirty) })
		for ; i*size < off+n; i++ {
			if c.failed() {
				continue
			}
			part := within(dirty, i*size, size)
			if len(part) == 0 {
				if err := c.compare(i, within(data, i*size, size)); err != nil {
					return err
				}
				if err := c.disk.Inherit(c.base, i); err != nil {
					return err
				}
				c.count(func(t *Changes) { t.Kept++ })
				continue
			}
			select {
			case segments <- changedSegment{i, part}:
			case <-ctx.Done():
				return ctx.Err()
			}
		}
	}
	return nil
}

// compare looks whether a clean segment can hold as much as base says. One that
// is emptier is not what it was, whatever dirty says: a disk that was made smaller
// and large again has lost its end, and its bitmap does not tell.
func (c *changedCopy) compare(i int64, data []Run) error {
	held, err := c.base.SegmentData(int(i))
	if err != nil {
		return err
	}
	off := i * c.base.SegmentSize()
	size := min(c.base.SegmentSize(), c.img.Size()-off)
	if length(wholeGrains(data, off, size)) < held {
		c.lie(off, size)
	}
	return nil
}

// count changes what is counted.
func (c *changedCopy) count(add func(*Changes)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	add(&c.changes)
}

// failed tells whether the base or dirty is of no use.
func (c *changedCopy) failed() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.changes.Loss != nil || c.changes.Lie != nil
}

// lose counts what the base does not give.
func (c *changedCopy) lose(n int64, err error) {
	c.count(func(t *Changes) {
		if t.Lost += n; t.Loss == nil {
			t.Loss = err
		}
	})
}

// lie keeps the first place where dirty is seen to be wrong.
func (c *changedCopy) lie(off, n int64) {
	c.count(func(t *Changes) {
		if t.Lie == nil {
			t.Lie = &AuditError{off, n}
		}
	})
}

// A changedCopier copies one segment after another.
type changedCopier struct {
	*changedCopy
	c   *segmentCopier // made for the first segment
	buf []byte         // of the recutter
}

// copy stores a segment that is dirty.
func (w *changedCopier) copy(ctx context.Context, g changedSegment) error {
	if w.c == nil {
		w.c, w.buf = newSegmentCopier(w.session, w.img, w.p), make([]byte, recutBuffer)
	}
	m, err := w.cut(ctx, g)
	if err == nil {
		err = w.disk.SetSegment(ctx, w.c.lane, g.i, m)
	}
	w.count(func(t *Changes) { t.Cut++ })
	return err
}

// cut returns the map of a segment; nothing of use if the base or dirty has
// failed.
func (w *changedCopier) cut(ctx context.Context, g changedSegment) (repo.SegmentMap, error) {
	data, err := w.c.data(ctx, g.i)
	if err != nil {
		return nil, err
	}
	start := g.i * w.c.size
	size := min(w.c.size, w.img.Size()-start)
	dirty := wholeGrains(g.dirty, start, size)
	changed := both(dirty, data)
	clean := length(data) - length(changed)
	base, err := w.base.Segment(int(g.i))
	lies := without(without(covered(base), dirty), data)
	if err != nil {
		w.lose(clean, err)
		return nil, nil
	}
	if len(lies) > 0 {
		w.lie(start+lies[0].Off, lies[0].Len)
		return nil, nil
	}
	w.read.Add(length(changed))
	if 2*length(dirty) > size && clean <= length(changed) {
		w.p.Total.Add(clean)
		return w.c.cut(ctx, w.c.store, w.reader(start, data, nil))
	}
	var failed error
	r := &recutter{cutter: w.c.cutter, size: grains(size), base: base, dirty: dirty, data: changed, buf: w.buf}
	return w.c.cut(ctx, func(ctx context.Context, full <-chan window) (repo.SegmentMap, error) {
		w.connect(ctx, r, start, full, &failed)
		return r.run()
	}, w.reader(start, changed, &failed))
}

// reader reads runs of the segment that begins at start. The error, if it is
// asked for, is told before the windows end.
func (w *changedCopier) reader(start int64, runs []Run, failed *error) func(context.Context, chan<- window) error {
	return func(ctx context.Context, full chan<- window) error {
		err := w.c.read(ctx, start, runs, full)
		if failed != nil {
			*failed = err
		}
		return err
	}
}

// connect gives a recutter what it works with.
func (w *changedCopier) connect(ctx context.Context, r *recutter, start int64, full <-chan window, failed *error) {
	r.window = func() (window, error) {
		got, ok := <-full
		if !ok {
			return got, cmp.Or(*failed, errors.New("the image was read only in part"))
		}
		return got, nil
	}
	r.release = func(got window) {
		w.c.free <- got.buf
		w.p.Done.Add(int64(got.n))
	}
	r.stored = func(p []byte, off int64) error { return w.stored(ctx, p, start+off) }
	r.put = func(p []byte) (chunk.ID, error) { return w.c.lane.Put(ctx, p) }
}

// stored reads p, whole grains, from the base, and where the base cannot give
// them from the image, so that the segment is read to its end.
func (w *changedCopier) stored(ctx context.Context, p []byte, off int64) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	n := min(int64(len(p)), w.base.Size()-off)
	_, err := w.base.ReadAt(p[:n], off)
	if err == nil || err == io.EOF {
		clear(p[n:])
		return nil
	}
	w.lose(n, err)
	w.p.Total.Add(n)
	err = fill(ctx, w.img, p, off, w.p)
	w.p.Done.Add(n)
	return err
}
