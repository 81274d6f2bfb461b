package repo

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"

	"vaultfs/chunk"
	"vaultfs/repo/format"
	"vaultfs/repo/index"
	"vaultfs/repo/store"
)

// present remembers which packs a session found to be there with their whole
// length, and which are not to be relied on. What the index lists may be gone: a snapshot must not name it, and
// what is stored again heals the snapshots before it.
type present struct {
	mu         sync.Mutex
	packs      map[format.PackHash]bool
	distrusted bool // some of them were read, and are damaged
}

// lookAgain forgets which packs were there.
func (p *present) lookAgain() {
	p.mu.Lock()
	defer p.mu.Unlock()
	maps.DeleteFunc(p.packs, func(_ format.PackHash, there bool) bool { return there })
}

// distrust marks a pack as one that is not to be relied on, and tells whether
// it was not marked before.
func (p *present) distrust(pack format.PackHash) (first bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.packs == nil {
		p.packs = map[format.PackHash]bool{}
	}
	there, known := p.packs[pack]
	p.packs[pack], p.distrusted = false, true
	return there || !known
}

// distrusts tells whether any pack was distrusted.
func (p *present) distrusts() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.distrusted
}

// distrust is called with a chunk of the base that is damaged. This session
// does not rely on the packs that hold it so from now on: what it puts is
// stored again. The head is told, so that a later session does not either, and
// has a doubt if this one fails.
func (s *Session) distrust(k format.Kind, id chunk.ID) {
	for _, at := range s.repo.index.Lookup(id) {
		_, err := s.repo.readAt(s.ctx, k, at)
		if !isDamage(err) || !s.present.distrust(at.Pack.Hash) {
			continue
		}
		note := fmt.Sprintf("%v; what this backup needs of it is stored again. `vaultfs verify --read-data` tells what is lost with it", err)
		s.Note(note)
		s.repo.warn(note)
		_, err = s.repo.publish(s.ctx, s.lease.Held, editDamaged([]format.PackHash{at.Pack.Hash}, nil))
		if err == nil {
			err = s.repo.refresh(s.ctx)
		}
		if err != nil {
			s.repo.warn(fmt.Sprintf("later backups are not told of the damage in %s: %v", packLabel(at.Pack.Hash), err))
		}
	}
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
	return s.anyUsable(id, func(at index.Location) bool {
		if !s.has(ctx, at) {
			return false
		}
		if !k.Structured() {
			return true
		}
		_, err := s.repo.readAt(ctx, k, at)
		if err != nil {
			s.repo.warn(fmt.Sprintf("%v; a good copy is stored now", err))
		}
		return err == nil
	})
}

// anyUsable tells whether a place of a chunk, of those that a snapshot may
// name, is good. It goes to no other part of the index if one has such a place.
func (s *Session) anyUsable(id chunk.ID, good func(index.Location) bool) bool {
	first, more := s.repo.index.FirstUsable(id)
	if slices.ContainsFunc(first, good) {
		return true
	}
	return more && slices.ContainsFunc(s.repo.index.Usable(id), func(at index.Location) bool {
		tried := slices.ContainsFunc(first, func(l index.Location) bool { return l.Pack.Hash == at.Pack.Hash && l.Ordinal == at.Ordinal })
		return !tried && good(at)
	})
}

// stored tells whether a chunk of that kind and length is where the index says.
func (s *Session) stored(ctx context.Context, k format.Kind, id chunk.ID, plain int64) error {
	for range 2 {
		if s.anyUsable(id, func(at index.Location) bool {
			return at.Chunk.Kind == k && (plain < 0 || int64(at.Chunk.Plain) == plain) && s.has(ctx, at)
		}) {
			return nil
		}
		if s.keptForUs(ctx, k, id, plain) {
			return nil
		}
		// The local copy of the index may have lost a part.
		if err := s.repo.refresh(ctx); err != nil {
			return err
		}
	}
	return s.whyNot(ctx, id)
}

// keptForUs tells whether a chunk is in a pack that was condemned after the session
// began, when it may have come to rely on it. No collector removes that pack
// before the lease has ended; if it ended with a snapshot, that is a root, and
// the pack is taken back.
func (s *Session) keptForUs(ctx context.Context, k format.Kind, id chunk.ID, plain int64) bool {
	h := s.repo.inForce()
	return h != nil && s.isThere(ctx, k, id, plain, func(p format.PackHash) bool {
		return h.CondemnedIn(p) > s.epoch && !has(h.Damaged, p)
	})
}

// isThere tells whether a chunk of that kind and length is in one of the packs that
// will do.
func (s *Session) isThere(ctx context.Context, k format.Kind, id chunk.ID, plain int64, willDo func(format.PackHash) bool) bool {
	return slices.ContainsFunc(s.repo.index.Lookup(id), func(at index.Location) bool {
		return willDo(at.Pack.Hash) && at.Chunk.Kind == k && (plain < 0 || int64(at.Chunk.Plain) == plain) && s.has(ctx, at)
	})
}

// whyNot says why a chunk is not stored as far as a new snapshot is concerned.
func (s *Session) whyNot(ctx context.Context, id chunk.ID) error {
	places := s.repo.index.Lookup(id)
	if len(places) == 0 {
		return &DamageError{"chunk " + id.String()[:16], errors.New("no pack holds it")}
	}
	hash := places[0].Pack.Hash
	object := packLabel(hash)
	if !s.has(ctx, places[0]) {
		return &DamageError{object, errors.New("missing, cut off or damaged; run the backup again: what it needs of it is stored anew then")}
	}
	if h := s.repo.inForce(); h != nil && h.CondemnedIn(hash) > 0 && !has(h.Damaged, hash) {
		return fmt.Errorf("%s: a collector is about to remove it; run the backup again: what it needs of it is stored anew then", object)
	}
	return &DamageError{object, errors.New("not to be relied on: `vaultfs verify --read-data` tells what is damaged in it")}
}
