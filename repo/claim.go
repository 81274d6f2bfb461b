package repo

import (
	"sync"

	"vaultfs/chunk"
)

// claims are the chunks that a session has taken on and the index does not
// list yet.
type claims struct {
	shards [64]struct {
		sync.Mutex
		ids map[chunk.ID]struct{}
	}
}

// take returns true for the one caller that is to store a chunk.
func (c *claims) take(id chunk.ID) bool {
	s := &c.shards[id[0]%64]
	s.Lock()
	defer s.Unlock()
	if _, ok := s.ids[id]; ok {
		return false
	}
	if s.ids == nil {
		s.ids = map[chunk.ID]struct{}{}
	}
	s.ids[id] = struct{}{}
	return true
}

// drop forgets a claim: the index knows the chunk now.
func (c *claims) drop(id chunk.ID) {
	s := &c.shards[id[0]%64]
	s.Lock()
	delete(s.ids, id)
	s.Unlock()
}
