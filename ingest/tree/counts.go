package tree

import (
	"sync/atomic"

	"vaultfs/ingest"
	"vaultfs/repo"
)

// counts is what became of the regular files, by name.
type counts struct{ new, changed, unchanged, unread atomic.Int64 }

// file counts a file whose content is known, beside what its name stood for in
// the previous snapshot.
func (c *counts) file(e, was *repo.Entry) {
	switch {
	case was == nil || !was.IsRegular():
		c.new.Add(1)
	case was.Content == e.Content:
		c.unchanged.Add(1)
	default:
		c.changed.Add(1)
	}
}

func (c *counts) addTo(s *repo.Summary) {
	s.FilesNew, s.FilesChanged, s.FilesUnchanged = c.new.Load(), c.changed.Load(), c.unchanged.Load()
	s.FilesUnread = c.unread.Load()
}

// expected keeps Progress.Total: how much there is to read is known when the
// walk has ended. Until then it is taken to be as much as the last time, or is
// not said.
type expected struct {
	told, seen int64
	grows      bool
}

func (e *expected) start(p *ingest.Progress, root *repo.Entry) {
	e.grows = root != nil || p.Total.Load() > 0
	if root != nil {
		e.tell(p, int64(root.Below.Bytes))
	}
}

func (e *expected) add(p *ingest.Progress, n int64) {
	e.seen += n
	if e.grows && e.seen > e.told {
		e.tell(p, e.seen)
	}
}

func (e *expected) settle(p *ingest.Progress) { e.tell(p, e.seen) }

func (e *expected) tell(p *ingest.Progress, n int64) {
	p.Total.Add(n - e.told)
	e.told = n
}
