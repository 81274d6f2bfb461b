package restore

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"runtime"
	"sync/atomic"

	"golang.org/x/sync/errgroup"
)

// Progress counts what has been done. It is polled by whoever shows it.
type Progress struct {
	Total atomic.Int64 // bytes of data to write
	Done  atomic.Int64
}

const (
	// windowSize is how much a worker reads and writes at a time, in bytes, unless
	// a chunk is longer.
	windowSize = 2 << 20
	// block is the unit in which zeros are left out, in bytes: what file
	// systems allocate.
	block = 4096
)

// A window is a range of the content that may hold other than zeros, or, with
// hole set, that holds nothing but zeros.
type window struct {
	off, n int64
	hole   bool
	part   *part // the extents it is made of, if they are known
}

// space is how many bytes of memory reading the window takes: the last extent of
// a disk may reach beyond its end.
func (w window) space() int64 {
	if w.part != nil {
		return w.part.length()
	}
	return w.n
}

// A copier writes a source's bytes to a file or a device.
type copier struct {
	src      *Source
	dst      *output
	progress *Progress
	// zero writes zeros where the destination may hold anything else. It is
	// nil where there is nothing but zeros yet.
	zero func(off, n int64) error
}

// copiers is how many windows are copied at a time: more than there are
// processors, as a write that goes past the page cache is waited for.
func copiers() int { return 2 * max(2, min(runtime.GOMAXPROCS(0), maxStreamWorkers)) }

// copy writes everything. Reading, which is where the work is, goes on in
// several goroutines.
func (c *copier) copy(ctx context.Context) error {
	windows := make(chan window)
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error {
		defer close(windows)
		return c.plan(func(w window) error {
			if w.hole && c.zero == nil {
				return nil
			}
			select {
			case windows <- w:
				return nil
			case <-ctx.Done():
				return ctx.Err()
			}
		})
	})
	for range copiers() {
		g.Go(func() error {
			var buf []byte
			for w := range windows {
				var err error
				if buf, err = c.write(ctx, buf, w); err != nil {
					return err
				}
			}
			return nil
		})
	}
	return g.Wait()
}

// plan divides the content into windows, and holes between them.
func (c *copier) plan(emit func(window) error) error {
	l := c.src.layout
	if l == nil {
		return c.planBytes(c.src.Size(), emit)
	}
	if err := c.planBytes(l.head, emit); err != nil {
		return err
	}
	return l.plan(emit)
}

// planBytes divides the content before end into windows. Holes are windows of any
// length.
func (c *copier) planBytes(end int64, emit func(window) error) error {
	for off := int64(0); off < end; {
		data, err := c.src.NextData(off)
		if err == io.EOF {
			data = end
		} else if err != nil {
			return err
		}
		if data = min(data, end); data > off {
			if err := emit(window{off: off, n: data - off, hole: true}); err != nil {
				return err
			}
		}
		if data == end {
			return nil
		}
		hole, err := c.src.NextHole(data)
		if err != nil {
			return err
		}
		for off, hole = data, min(hole, end); off < hole; {
			next, err := c.windowEnd(off)
			if err != nil {
				return err
			}
			next = min(next, hole)
			if err := emit(window{off: off, n: next - off}); err != nil {
				return err
			}
			off = next
		}
	}
	return nil
}

// windowEnd is where the window at off ends: with a chunk of a file, which is then
// decoded to its place, else at a multiple of windowSize, so that two workers seldom
// need the same chunk.
func (c *copier) windowEnd(off int64) (int64, error) {
	if f, ok := c.src.content.(interface {
		ChunksEnd(off, most int64) (int64, error)
	}); ok {
		return f.ChunksEnd(off, windowSize)
	}
	return (off/windowSize + 1) * windowSize, nil
}

// write copies a window. It returns its memory, for the next one.
func (c *copier) write(ctx context.Context, buf []byte, w window) ([]byte, error) {
	if w.hole {
		return buf, c.zero(w.off, w.n)
	}
	buf = room(buf, w.space())
	if err := c.read(ctx, buf, w); err != nil {
		return buf, err
	}
	put := c.put
	if w.part == nil && c.zero == nil {
		put = c.putSparse
	}
	if err := put(buf[:w.n], w.off); err != nil {
		return buf, err
	}
	c.progress.Done.Add(w.space())
	return buf, nil
}

// read fills buf, which has the space of the window.
func (c *copier) read(ctx context.Context, buf []byte, w window) error {
	var n int64
	var err error
	if w.part != nil {
		n, err = w.part.read(ctx, buf)
	} else {
		var got int
		if got, err = c.src.ReadAt(buf, w.off); got == len(buf) {
			return nil
		} else if err == nil || err == io.EOF {
			err = io.ErrUnexpectedEOF
		}
	}
	if err != nil {
		return fmt.Errorf("reading %s at %d: %w", c.src.item.Name, w.off+n, err)
	}
	return nil
}

// put writes p at off.
func (c *copier) put(p []byte, off int64) error { return c.dst.writeAt(p, off) }

// putSparse writes p at off without its blocks of zeros, which are there already.
func (c *copier) putSparse(p []byte, off int64) error {
	for len(p) > 0 {
		n := runLength(p, true)
		p, off = p[n:], off+int64(n)
		if n = runLength(p, false); n == 0 {
			continue
		}
		if err := c.put(p[:n], off); err != nil {
			return err
		}
		p, off = p[n:], off+int64(n)
	}
	return nil
}

var zeros [block]byte

// runLength is the length of p's beginning whose blocks are all zero, or all
// not.
func runLength(p []byte, zero bool) (n int) {
	for n < len(p) {
		b := p[n:min(len(p), n+block)]
		if bytes.Equal(b, zeros[:len(b)]) != zero {
			break
		}
		n += len(b)
	}
	return n
}
