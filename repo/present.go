package repo

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"sync"

	"vaultfs/chunk"
	"vaultfs/repo/format"
	"vaultfs/repo/index"
	"vaultfs/repo/store"
)

// present remembers which packs a session found to be there with their whole
// length. What the index lists may be gone: a snapshot must not name it, and
// what is stored again heals the snapshots before it.
type present struct {
	mu    sync.Mutex
	packs map[format.PackHash]bool
}

// lookAgain forgets which packs were there.
func (p *present) lookAgain() {
	p.mu.Lock()
	defer p.mu.Unlock()
	maps.DeleteFunc(p.packs, func(_ format.PackHash, there bool) bool { return there })
}

// has tells whether a pack is there, and looks only once.
func (s *Session) has(ctx context.Context, at index.Location) bool {
	s.present.mu.Lock()
	defer s.present.mu.Unlock()
	ok, known := s.present.packs[at.Pack.Hash]
	if known {
		return ok
	}
	size, err := s.repo.store.Size(ctx, packObject(at.Session, at.Pack.Hash))
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		return false // not known: it is looked at again
	}
	ok = err == nil && size == int64(at.Pack.Size)
	if s.present.packs == nil {
		s.present.packs = map[format.PackHash]bool{}
	}
	s.present.packs[at.Pack.Hash] = ok
	if !ok {
		note := fmt.Sprintf("%s is missing or cut off; what this backup needs of it is stored again. See `vaultfs verify`", packLabel(at.Pack.Hash))
		s.Note(note)
		s.repo.warn(note)
	}
	return ok
}

// usable tells whether the snapshot may name a chunk that is stored already. A
// structured chunk is read first: there are few of them, and one that is damaged
// would keep every later backup from being committed.
func (s *Session) usable(ctx context.Context, k format.Kind, id chunk.ID) bool {
	for _, at := range s.repo.index.Usable(id) {
		if !s.has(ctx, at) {
			continue
		}
		if !k.Structured() {
			return true
		}
		_, err := s.repo.readAt(ctx, k, at)
		if err == nil {
			return true
		}
		s.repo.warn(fmt.Sprintf("%v; a good copy is stored now", err))
	}
	return false
}

// stored tells whether a chunk of that kind and length is where the index says.
func (s *Session) stored(ctx context.Context, k format.Kind, id chunk.ID, plain int64) error {
	for range 2 {
		for _, at := range s.repo.index.Usable(id) {
			if at.Chunk.Kind == k && (plain < 0 || int64(at.Chunk.Plain) == plain) && s.has(ctx, at) {
				return nil
			}
		}
		// The local copy of the index may have lost a part.
		if err := s.repo.refresh(ctx); err != nil {
			return err
		}
	}
	return s.whyNot(ctx, id)
}

// whyNot says why a chunk is not stored as far as a new snapshot is concerned.
func (s *Session) whyNot(ctx context.Context, id chunk.ID) error {
	places := s.repo.index.Lookup(id)
	if len(places) == 0 {
		return &DamageError{"chunk " + id.String()[:16], errors.New("no pack holds it")}
	}
	object := packLabel(places[0].Pack.Hash)
	if !s.has(ctx, places[0]) {
		return &DamageError{object, errors.New("missing or cut off")}
	}
	return &DamageError{object, errors.New("not to be relied on: `vaultfs verify --read-data` tells what is damaged in it")}
}
