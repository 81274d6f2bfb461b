package tree

import (
	"context"
	"fmt"
	"iter"
	"time"

	"vaultfs/repo"
)

// A previous is the tree of the source's snapshot before. A nil one is none.
type previous struct {
	tree *repo.Tree
	// before is when the walk of that snapshot began, less granularity: a file
	// that was touched later may have changed since without a trace.
	before time.Time
	// links: a file with several names was given another one since, which
	// changes its ctime and nothing else.
	links bool
	force bool // read everything all the same
	told  bool // that it cannot be read
	warn  func(string)
}

// granularity is how coarse the time stamps of files are taken to be. FAT has
// the coarsest ones.
const granularity = 2 * time.Second

// openPrevious opens the tree of the snapshot before. That it cannot be read is
// told, and makes everything be read.
func openPrevious(ctx context.Context, s *repo.Session, o *Options, t title) *previous {
	snapshot := s.Previous()
	if snapshot == nil {
		return nil
	}
	item := snapshot.Item(repo.WholeTree)
	if item == nil || item.Kind != repo.ItemTree {
		return nil
	}
	p := &previous{before: snapshot.Time.Add(-granularity), links: t.dated, force: o.ForceRead, warn: o.Warn}
	if o.Mirror != nil { // nobody else writes to it
		p.before = time.Unix(1<<40, 0)
	}
	var err error
	if p.tree, err = s.Repo().OpenTree(ctx, *item); err != nil {
		p.broken(err)
		return nil
	}
	return p
}

func (p *previous) root() *repo.Entry {
	if p == nil {
		return nil
	}
	return p.tree.Root()
}

// broken tells once that the tree cannot be read. Only the goroutine that walks
// reads it.
func (p *previous) broken(err error) {
	if p.told {
		return
	}
	p.told = true
	p.warn(fmt.Sprintf("the previous snapshot's tree cannot be read (%v): files are read again that may not have changed", err))
}

// A cursor goes through a directory of the previous snapshot. A nil one finds
// nothing.
type cursor struct {
	previous *previous
	next     func() (*repo.Entry, error, bool)
	stop     func()
	current  *repo.Entry
}

// open opens a directory; nil is none.
func (p *previous) open(ctx context.Context, dir *repo.Entry) *cursor {
	if p == nil || dir == nil || !dir.IsDir() {
		return nil
	}
	c := &cursor{previous: p}
	c.next, c.stop = iter.Pull2(p.tree.Entries(ctx, dir, ""))
	c.step()
	return c
}

func (c *cursor) step() {
	e, err, ok := c.next()
	if c.current = e; !ok || err != nil {
		c.current = nil
	}
	if err != nil {
		c.previous.broken(err)
	}
}

// find returns the entry of a name, or nil. Names are asked for in their order.
func (c *cursor) find(name string) *repo.Entry {
	if c == nil {
		return nil
	}
	for c.current != nil && c.current.Name < name {
		c.step()
	}
	if c.current == nil || c.current.Name != name {
		return nil
	}
	return c.current
}

func (c *cursor) close() {
	if c != nil {
		c.stop()
	}
}

// same tells whether a file has not changed since: its content may be taken
// over.
func (p *previous) same(now, was *repo.Entry) bool {
	if p == nil || p.force || was == nil || !was.IsRegular() || now.Inode != was.Inode || now.Content.Size != was.Content.Size ||
		now.Mtime != was.Mtime {
		return false
	}
	if p.links && now.Links > 1 {
		return p.settled(now.Mtime)
	}
	if now.Ctime == (repo.Timestamp{}) { // a file system without any
		return was.Ctime == now.Ctime && now.Mtime != (repo.Timestamp{}) && p.settled(now.Mtime)
	}
	return now.Ctime == was.Ctime && p.settled(now.Ctime)
}

// settled tells whether a time is well before the walk of the previous
// snapshot.
func (p *previous) settled(t repo.Timestamp) bool { return t.Time().Before(p.before) }
