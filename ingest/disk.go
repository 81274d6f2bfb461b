package ingest

import (
	"context"
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"

	"golang.org/x/sync/errgroup"
	"vaultfs/chunk"
	"vaultfs/repo"
)

// CopyDisk reads an image into the session and returns the root of the disk.
// Holes are not read. Segments are independent, so each of a few workers reads,
// cuts and stores whole segments in turn.
func CopyDisk(ctx context.Context, s *repo.Session, img Image, p *Progress) (chunk.ID, error) {
	return CopyDiskFrom(ctx, s, img, nil, p)
}

// CopyDiskFrom is CopyDisk of an image of which base, of the session's OpenBase,
// is an earlier state; nil for none. All of the image is read, and the result is
// that of CopyDisk, but what is as it was costs little more than the reading. After
// the session has found damage in the base, it is as if there were none.
//
// A map is stored as if there were no base, also one that is as it was: it is found
// stored, and read, which costs nothing beside the segment. So one that is damaged
// is stored again, and its segment is cut as if it were new.
func CopyDiskFrom(ctx context.Context, s *repo.Session, img Image, base *repo.Disk, p *Progress) (chunk.ID, error) {
	c := &diskCopy{session: s, disk: s.NewDisk(), img: img, p: p}
	var err error
	if c.base, err = goOn(s, c.disk, base); err != nil {
		return chunk.ID{}, err
	}
	if err := c.copyAll(ctx); err != nil {
		return chunk.ID{}, err
	}
	return c.disk.Finish(ctx, s.Lane(), img.Size())
}

// goOn makes a disk go on from a base, and returns it; nil if there is none that
// can be relied on.
func goOn(s *repo.Session, w *repo.DiskWriter, base *repo.Disk) (*repo.Disk, error) {
	if base == nil || s.FoundDamage() {
		return nil, nil
	}
	return base, w.GoOnFrom(base)
}

// A diskCopy is one call of CopyDiskFrom.
type diskCopy struct {
	session *repo.Session
	disk    *repo.DiskWriter
	img     Image
	base    *repo.Disk // nil for none
	p       *Progress
}

// copyAll stores all segments.
func (c *diskCopy) copyAll(ctx context.Context) error {
	size := c.session.Repo().SegmentSize()
	count := (c.img.Size() + size - 1) / size
	workers, ctx := errgroup.WithContext(ctx)
	var next atomic.Int64
	for range min(int64(runtime.GOMAXPROCS(0)), maxWorkers, count) {
		workers.Go(func() error {
			w := newSegmentCopier(c.session, c.img, c.p)
			for i := next.Add(1) - 1; i < count; i = next.Add(1) - 1 {
				if err := ctx.Err(); err != nil {
					return err
				}
				if err := w.copyTo(ctx, c.disk, c.base, i); err != nil {
					return err
				}
			}
			return nil
		})
	}
	return workers.Wait()
}

// maxWorkers bounds the memory of an ingest: a worker holds its windows and one
// pack, about 30 MB.
const maxWorkers = 6

// windowSize is how much a worker reads at once, in bytes; windows is how many
// of these it has in hand, so that reading and storing overlap.
const (
	windowSize = 2 << 20
	windows    = 3
)

// A window is a run of whole grains of one segment.
type window struct {
	buf  []byte // room for a carried rest of chunk.DiskMax bytes, then data
	off  int64  // of the data in the segment
	n    int    // bytes of data, a multiple of chunk.Grain
	ends bool   // a hole or the end of the segment follows
}

// A segmentCopier copies one segment after another.
type segmentCopier struct {
	session *repo.Session
	img     Image
	lane    *repo.Lane
	cutter  *chunk.Disk
	size    int64 // of a segment
	free    chan []byte
	p       *Progress
	damaged sync.Once // the snapshot is told of a damaged map of the base
}

func newSegmentCopier(s *repo.Session, img Image, p *Progress) *segmentCopier {
	c := &segmentCopier{session: s, img: img, lane: s.Lane(), cutter: s.Repo().DiskCutter(),
		size: s.Repo().SegmentSize(), free: make(chan []byte, windows), p: p}
	for range windows {
		c.free <- make([]byte, chunk.DiskMax+windowSize)
	}
	return c
}

// copyTo stores segment i of the image as that of a disk, of which base is an
// earlier state, or nil.
func (c *segmentCopier) copyTo(ctx context.Context, w *repo.DiskWriter, base *repo.Disk, i int64) error {
	data, err := c.data(ctx, i)
	if err != nil {
		return err
	}
	m, err := c.cut(ctx, c.storeFrom(c.segmentOf(base, i)), func(ctx context.Context, full chan<- window) error {
		return c.read(ctx, i*c.size, data, full)
	})
	if err != nil {
		return err
	}
	return w.SetSegment(ctx, c.lane, i, m)
}

// segmentOf is the map of segment i of a base, of which there may be none. A map
// that is damaged is none: it is stored again with its segment, and the snapshot
// tells of the first that each copier meets.
func (c *segmentCopier) segmentOf(base *repo.Disk, i int64) repo.SegmentMap {
	if base == nil || i >= int64(base.Segments()) {
		return nil
	}
	m, err := base.WasSegment(int(i))
	if err != nil {
		c.damaged.Do(func() {
			c.session.Note(fmt.Sprintf("segment %d of a disk of the snapshot before: %v; what was found damaged there is stored again. See `vaultfs verify`", i, err))
		})
		return nil
	}
	return m
}

// cut gives the windows of one segment, which read sends, to store, and
// returns the segment's map. The channel is closed after an error, too.
func (c *segmentCopier) cut(ctx context.Context, store func(context.Context, <-chan window) (repo.SegmentMap, error),
	read func(context.Context, chan<- window) error) (m repo.SegmentMap, err error) {
	full := make(chan window, windows)
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error {
		defer close(full)
		return read(ctx, full)
	})
	g.Go(func() error {
		m, err = store(ctx, full)
		return err
	})
	err = g.Wait()
	for w := range full { // what an error left over
		c.free <- w.buf
	}
	return m, err
}

// data returns the runs of data of segment i, in grains from its start.
func (c *segmentCopier) data(ctx context.Context, i int64) ([]Run, error) {
	start := i * c.size
	size := min(c.size, c.img.Size()-start)
	runs, err := ask(ctx, c.img.Data, start, size)
	return wholeGrains(runs, start, size), err
}

// read sends runs of the segment that begins at start as windows.
func (c *segmentCopier) read(ctx context.Context, start int64, runs []Run, full chan<- window) error {
	for _, r := range runs {
		for off, end := r.Off, r.Off+r.Len; off < end; {
			n := min(windowSize, end-off)
			w := window{off: off, n: int(n), ends: off+n == end}
			select {
			case w.buf = <-c.free:
			case <-ctx.Done():
				return ctx.Err()
			}
			if err := fill(ctx, c.img, w.buf[chunk.DiskMax:chunk.DiskMax+n], start+off, c.p); err != nil {
				c.free <- w.buf
				return err
			}
			full <- w
			off += n
		}
	}
	return nil
}

// fill reads p, whole grains, from an image; beyond its end, in the last grain,
// are zeros.
func fill(ctx context.Context, img Image, p []byte, off int64, progress *Progress) error {
	n := min(int64(len(p)), img.Size()-off)
	clear(p[n:])
	if err := img.ReadAt(ctx, p[:n], off); err != nil {
		return fmt.Errorf("reading %d bytes at %d: %w", n, off, err)
	}
	progress.Read.Add(n)
	return nil
}

// store cuts the windows of a segment and puts the chunks.
func (c *segmentCopier) store(ctx context.Context, full <-chan window) (repo.SegmentMap, error) {
	return c.storeFrom(nil)(ctx, full)
}

// storeFrom is store for a segment of which an earlier map is known.
func (c *segmentCopier) storeFrom(base repo.SegmentMap) func(context.Context, <-chan window) (repo.SegmentMap, error) {
	return func(ctx context.Context, full <-chan window) (repo.SegmentMap, error) {
		f := newFollower(c, base)
		var rest []byte // of the window before, not cut yet
		var held []byte // the buffer that rest lies in
		release := func() {
			if held != nil {
				c.free <- held
				held = nil
			}
		}
		defer release()
		for w := range full {
			begin := chunk.DiskMax - len(rest)
			copy(w.buf[begin:], rest)
			data, off := w.buf[begin:chunk.DiskMax+w.n], w.off-int64(len(rest))
			release()
			held = w.buf
			for len(data) > 0 {
				zeros, n, err := f.next(ctx, data, off, w.ends)
				if err != nil {
					return nil, err
				}
				data, off = data[zeros+n:], off+int64(zeros+n)
				if n == 0 {
					break
				}
			}
			c.p.Done.Add(int64(w.n))
			rest = data
		}
		return f.made, nil
	}
}
