package repo

import (
	"context"
	"slices"
	"strings"

	"vaultfs/repo/format"
	"vaultfs/repo/index"
	"vaultfs/repo/store"
)

// doubtPacks returns why not all that the base names may be there; nothing if
// it is. It costs one listing of the packs, however much the base names: when
// the base was committed each of its chunks was in a pack that the index
// listed. So they are all there if
//
//   - the index was not made anew since, which forgets packs that are lost: it
//     still has a run of the base's session under that session's name;
//   - it is not an old one, from before the base: it lists all of that
//     session's packs;
//   - every pack that it lists is there with its length, and none is known to
//     be damaged.
func (s *Session) doubtPacks(ctx context.Context) (doubts []string, err error) {
	own, err := format.ParseSnapshotID(s.base.snapshot.ID)
	if err != nil {
		return nil, err
	}
	if !s.repo.listsRunOf(own) {
		doubts = append(doubts, "the index was made anew")
	}
	suspects, err := s.listedPacks(ctx)
	if err != nil {
		return nil, err
	}
	err = s.repo.store.List(ctx, "packs", func(i store.Info) error {
		session, hash, ok := parsePack(i.Name)
		p, listed := suspects[hash]
		switch {
		case !ok:
		case listed && p.Owner == session && int64(p.Size) == i.Size && !p.Damaged:
			delete(suspects, hash)
		case !listed && session == own:
			doubts = append(doubts, packLabel(hash)+" is not listed")
		}
		return nil
	})
	for hash := range suspects {
		doubts = append(doubts, packLabel(hash)+" is missing, cut off or damaged")
	}
	slices.Sort(doubts)
	return doubts, err
}

// doubtOnce is doubtPacks, done once in a session.
func (s *Session) doubtOnce(ctx context.Context) (doubts []string, err error) {
	s.base.mu.Lock()
	defer s.base.mu.Unlock()
	if s.base.checked {
		return s.base.doubts, nil
	}
	if doubts, err = s.doubtPacks(ctx); err == nil {
		s.base.doubts, s.base.checked = doubts, true
	}
	return doubts, err
}

// listedPacks are the packs that the index lists. The local copy may turn out
// to be damaged, and is then made again.
func (s *Session) listedPacks(ctx context.Context) (map[format.PackHash]index.ListedPack, error) {
	if listed, err := s.repo.index.Packs(); err == nil {
		return listed, nil
	}
	if err := s.repo.refresh(ctx); err != nil {
		return nil, err
	}
	return s.repo.index.Packs()
}

// listsRunOf tells whether the head that the index is in step with names a run
// that the session wrote.
func (r *Repo) listsRunOf(session format.SnapshotID) bool {
	r.syncing.Lock()
	defer r.syncing.Unlock()
	return r.head != nil && r.head.HasOf(session)
}

// parsePack reads what packObject writes.
func parsePack(object string) (session format.SnapshotID, hash format.PackHash, ok bool) {
	parts := strings.Split(object, "/")
	if len(parts) != 3 {
		return session, hash, false
	}
	session, err := format.ParseSnapshotID(parts[1])
	if err != nil {
		return session, hash, false
	}
	hash, err = format.ParsePackHash(parts[2])
	return session, hash, err == nil
}
