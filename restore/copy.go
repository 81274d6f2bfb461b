package restore

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
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
	// windowSize is how much a worker reads and writes at a time, in bytes.
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
}

// A copier writes a source's bytes to an open file.
type copier struct {
	src      *Source
	dst      *os.File
	progress *Progress
	// zero writes zeros where the destination may hold anything else. It is
	// nil where there is nothing but zeros yet.
	zero func(off, n int64) error
}

// copy writes everything. Reading, which is where the work is, goes on in
// several goroutines.
func (c *copier) copy(ctx context.Context) error {
	windows := make(chan window)
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error {
		defer close(windows)
		return c.plan(func(w window) error {
			select {
			case windows <- w:
				return nil
			case <-ctx.Done():
				return ctx.Err()
			}
		})
	})
	for range max(2, runtime.GOMAXPROCS(0)) {
		g.Go(func() error {
			buf := make([]byte, windowSize)
			for w := range windows {
				if err := c.write(buf, w); err != nil {
					return err
				}
			}
			return nil
		})
	}
	return g.Wait()
}

// plan divides the content into windows that do not cross a multiple of
// windowSize, so that two workers seldom need the same chunk. Holes are
// windows of any length.
func (c *copier) plan(emit func(window) error) error {
	size := c.src.Size()
	for off := int64(0); off < size; {
		data, err := c.src.NextData(off)
		if err == io.EOF {
			data = size
		} else if err != nil {
			return err
		}
		if data > off && c.zero != nil {
			if err := emit(window{off, data - off, true}); err != nil {
				return err
			}
		}
		if data >= size {
			return nil
		}
		hole, err := c.src.NextHole(data)
		if err != nil {
			return err
		}
		for off = data; off < hole; {
			n := min(hole, (off/windowSize+1)*windowSize) - off
			if err := emit(window{off, n, false}); err != nil {
				return err
			}
			off += n
		}
	}
	return nil
}

func (c *copier) write(buf []byte, w window) error {
	if w.hole {
		return c.zero(w.off, w.n)
	}
	p := buf[:w.n]
	if err := c.read(p, w.off); err != nil {
		return err
	}
	if err := c.put(p, w.off); err != nil {
		return err
	}
	c.progress.Done.Add(w.n)
	return nil
}

// read fills p from off.
func (c *copier) read(p []byte, off int64) error {
	n, err := c.src.ReadAt(p, off)
	if n == len(p) {
		return nil
	}
	if err == nil || err == io.EOF {
		err = io.ErrUnexpectedEOF
	}
	return fmt.Errorf("reading %s at %d: %w", c.src.item.Name, off, err)
}

// put writes p at off, without its blocks of zeros where these are not needed.
func (c *copier) put(p []byte, off int64) error {
	if c.zero != nil {
		_, err := c.dst.WriteAt(p, off)
		return err
	}
	for len(p) > 0 {
		n := runLength(p, true)
		p, off = p[n:], off+int64(n)
		if n = runLength(p, false); n == 0 {
			continue
		}
		if _, err := c.dst.WriteAt(p[:n], off); err != nil {
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
