package tar

import (
	"bytes"
	"context"
	"io"
	"runtime"
	"sync"

	"golang.org/x/sync/errgroup"
	"vaultfs/repo"
)

// smallFile is the largest file that is read whole and stored by one of several
// workers while the archive is read on, in bytes.
const smallFile = 1 << 20

// maxWorkers bounds the workers, and with them the memory: two files each.
const maxWorkers = 4

// A small is a file that was read and is not stored yet.
type small struct {
	content []byte
	body    []byte // takes what the content becomes
}

// contents stores small files side by side.
type contents struct {
	jobs    chan small
	buffers sync.Pool
	group   *errgroup.Group
	ctx     context.Context
	done    sync.Once
}

func newContents(ctx context.Context, session *repo.Session) *contents {
	c := &contents{}
	c.group, c.ctx = errgroup.WithContext(ctx)
	workers := min(runtime.GOMAXPROCS(0), maxWorkers)
	c.jobs = make(chan small, workers)
	for range workers {
		c.group.Go(func() error {
			w := session.NewFileWriter()
			for j := range c.jobs {
				if err := c.store(w, j); err != nil {
					return err
				}
			}
			return nil
		})
	}
	return c
}

func (c *contents) store(w *repo.FileWriter, j small) error {
	content, err := w.Put(c.ctx, bytes.NewReader(j.content))
	if err != nil {
		return err
	}
	setContent(j.body, &content)
	c.buffers.Put(&j.content)
	return nil
}

// read reads n bytes, which are few.
func (c *contents) read(r io.Reader, n int64) ([]byte, error) {
	b, ok := c.buffers.Get().(*[]byte)
	if !ok || int64(cap(*b)) < n {
		fresh := make([]byte, max(n, 64<<10))
		b = &fresh
	}
	got := (*b)[:n]
	_, err := io.ReadFull(r, got)
	return got, err
}

// put has a file stored.
func (c *contents) put(content, body []byte) error {
	select {
	case c.jobs <- small{content, body}:
		return nil
	case <-c.ctx.Done():
		return c.wait()
	}
}

// wait waits until all files are stored, or one could not be.
func (c *contents) wait() error {
	c.done.Do(func() { close(c.jobs) })
	return c.group.Wait()
}
