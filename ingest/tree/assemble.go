package tree

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"

	"vaultfs/repo"
)

// window is how many entries may wait, in all directories, for files before
// them to be read. It bounds the memory of a walk that runs ahead of a large
// file.
const window = 16 << 10

// A directory is one that is being stored. Its entries are added in the order
// of their names, each as soon as it and all before it are ready; so several
// goroutines may store several directories at once.
type directory struct {
	w      *walk
	parent *directory // nil of the root
	slot   *slot      // of this directory in its parent
	depth  int        // how many directories it lies in, the root included
	length int        // of its path, in bytes, with a slash at the end
	name   string
	handle *handle
	entry  *repo.Entry

	mu      sync.Mutex
	writer  *repo.DirWriter
	waiting []*slot
	closed  bool // nothing more comes
}

// A slot is the place of an entry in its directory.
type slot struct {
	entry *repo.Entry
	ready bool
	gone  bool // nothing is to be added
	holds bool // it counts in the window
}

// path is that of a name in the directory, from the root of the tree; "" or "."
// for the name gives the directory's own.
func (d *directory) path(name string) string {
	names := make([]string, 0, d.depth+1)
	if name != "" && name != "." {
		names = append(names, name)
	}
	for ; d.parent != nil; d = d.parent {
		names = append(names, d.name)
	}
	slices.Reverse(names)
	return strings.Join(names, "/")
}

// add adds an entry that is ready.
func (d *directory) add(ctx context.Context, e *repo.Entry) error {
	d.mu.Lock()
	if len(d.waiting) == 0 {
		defer d.mu.Unlock()
		return d.store(ctx, e)
	}
	d.mu.Unlock()
	s, err := d.expect(ctx, e)
	if err != nil {
		return err
	}
	return d.settle(ctx, s, true)
}

// expect makes a place for an entry that will be ready later. It waits while
// too many others do.
func (d *directory) expect(ctx context.Context, e *repo.Entry) (*slot, error) {
	if err := d.w.hold(ctx); err != nil {
		return nil, err
	}
	s := &slot{entry: e, holds: true}
	d.wait(s)
	return s, nil
}

func (d *directory) wait(s *slot) {
	d.mu.Lock()
	d.waiting = append(d.waiting, s)
	d.mu.Unlock()
}

// settle says what became of an entry that was expected: it is ready, or there
// is none to be added.
func (d *directory) settle(ctx context.Context, s *slot, keep bool) error {
	d.mu.Lock()
	s.ready, s.gone = true, !keep
	return d.advance(ctx)
}

// close says that nothing more comes. The directory counts in the window from
// now on if it cannot be finished at once.
func (d *directory) close(ctx context.Context) error {
	if d.slot != nil {
		if err := d.w.hold(ctx); err != nil {
			return err
		}
		d.slot.holds = true
	}
	d.mu.Lock()
	d.closed = true
	return d.advance(ctx)
}

// advance adds what is ready, and finishes the directory after its last entry.
// It is called with the lock held, and gives it up.
func (d *directory) advance(ctx context.Context) error {
	n := 0
	var err error
	for n < len(d.waiting) && d.waiting[n].ready && err == nil {
		s := d.waiting[n]
		if !s.gone {
			err = d.store(ctx, s.entry)
		}
		if s.holds {
			d.w.letGo()
		}
		d.waiting[n] = nil
		n++
	}
	d.waiting = d.waiting[n:]
	finished := d.closed && len(d.waiting) == 0 && err == nil
	d.mu.Unlock()
	if err != nil || !finished {
		return err
	}
	if err := d.writer.Finish(ctx, d.entry); err != nil || d.parent == nil {
		return err
	}
	return d.parent.settle(ctx, d.slot, true)
}

// store adds an entry to what is stored. One that the repository's format does
// not allow is left out.
func (d *directory) store(ctx context.Context, e *repo.Entry) error {
	err := d.writer.Add(ctx, e)
	if err == nil {
		return nil
	}
	if why := e.Validate(); why != nil {
		d.w.unread(d.path(e.Name), fmt.Sprintf("cannot be stored (%v), and is left out", why))
		return nil
	}
	return err
}

// hold takes a place in the window, letGo gives it back.
func (w *walk) hold(ctx context.Context) error {
	select {
	case w.window <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (w *walk) letGo() { <-w.window }
