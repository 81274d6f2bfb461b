package tree

import (
	"context"
	"fmt"
	"io"
	"runtime"
	"sync"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"
	"vaultfs/repo"
)

// windowSize is how much is read and written at a time, in bytes, unless a chunk is
// longer.
const windowSize = 1 << 20

// content is what a stored file is read through.
type content interface {
	io.ReaderAt
	Size() int64
	// NextData and NextHole are those of [repo.Disk].
	NextData(off int64) (int64, error)
	NextHole(off int64) (int64, error)
	// ChunksEnd is that of [repo.File].
	ChunksEnd(off, most int64) (int64, error)
}

// windows is memory for windows, of at least a small file.
var windows = sync.Pool{New: func() any { return new([]byte) }}

func takeWindow(n int64) *[]byte {
	buf := windows.Get().(*[]byte)
	if int64(cap(*buf)) < n {
		*buf = make([]byte, max(n, smallWindow))
	}
	*buf = (*buf)[:n]
	return buf
}

// smallWindow is the least memory of a window, in bytes.
const smallWindow = 256 << 10

// fill writes the content of a regular file to a new, empty one, with the same
// holes. It returns how many bytes of data that was.
func (r *restorer) fill(ctx context.Context, fd int, e *repo.Entry) (data int64, err error) {
	if e.Content.Size == 0 {
		return 0, nil
	}
	f, err := r.tree.Open(ctx, e)
	if err != nil {
		return 0, err
	}
	return r.copy(ctx, fd, f)
}

// large is the size from which several windows of a file are copied at once, in
// bytes.
const large = 8 * windowSize

// copy writes the data of f to a new file, and makes it as long.
func (r *restorer) copy(ctx context.Context, fd int, f content) (data int64, err error) {
	g, parallel := errgroup.WithContext(ctx)
	g.SetLimit(runtime.GOMAXPROCS(0))
	end, err := eachWindow(f, func(off, n int64) error {
		data += n
		if f.Size() >= large {
			g.Go(func() error { return r.window(fd, f, off, n) })
		} else if err := r.window(fd, f, off, n); err != nil {
			return err
		}
		return parallel.Err()
	})
	if failed := g.Wait(); failed != nil {
		err = failed
	}
	if err == nil && end < f.Size() {
		err = retry(func() error { return unix.Ftruncate(fd, f.Size()) })
	}
	return data, err
}

// eachWindow divides the data of a file into windows of whole chunks, and returns
// where the last one ends.
func eachWindow(f content, do func(off, n int64) error) (end int64, err error) {
	for {
		data, err := f.NextData(end)
		if err == io.EOF {
			return end, nil
		} else if err != nil {
			return end, err
		}
		hole, err := f.NextHole(data)
		if err != nil {
			return end, err
		}
		for end = data; end < hole; {
			next, err := f.ChunksEnd(end, windowSize)
			if err == nil {
				err = do(end, next-end)
			}
			if err != nil {
				return end, err
			}
			end = next
		}
	}
}

func (r *restorer) window(fd int, f content, off, n int64) error {
	buf := takeWindow(n)
	defer windows.Put(buf)
	p := *buf
	if got, err := f.ReadAt(p, off); int64(got) < n {
		if err == io.EOF {
			err = io.ErrUnexpectedEOF
		}
		return fmt.Errorf("reading at %d: %w", off, err)
	}
	for len(p) > 0 {
		var wrote int
		err := retry(func() (err error) {
			wrote, err = unix.Pwrite(fd, p, off)
			return err
		})
		if err != nil {
			return err
		}
		p, off = p[wrote:], off+int64(wrote)
	}
	r.o.Progress.Done.Add(n)
	return nil
}

// retry does a system call again that a signal has interrupted.
func retry(call func() error) error {
	for {
		if err := call(); err != unix.EINTR {
			return err
		}
	}
}
