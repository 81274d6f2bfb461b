package repo

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"vaultfs/chunk"
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
//     be damaged, or else all chunks of that pack are in others as well;
//   - no repair has taken a pack from it of which something may be lost: such
//     packs stay named as damaged, until a repair misses nothing any more.
//
// The argument rests on three premises. A collector takes a pack from the index
// only if no chunk of a root is in that pack alone, and the lease makes the base
// a root. Runs are merged under the name of their session only, so that none of
// the base's session is left where the index was made anew, and nowhere else: a
// collector that writes them anew leaves one, if it is one that lists nothing, and
// a session that stored nothing publishes such a one: see leaveTrace. A
// snapshot is committed only after a head lists all packs of its session, so
// that a head which lists them all is no older than the snapshot.
func (s *Session) doubtPacks(ctx context.Context) (doubts []string, err error) {
	for {
		h := s.repo.inForce()
		if doubts, err = s.lookAtPacks(ctx, h); err != nil || len(doubts) == 0 {
			return doubts, err
		}
		// What a collector removed meanwhile is no doubt.
		if err := s.repo.refresh(ctx); err != nil {
			return nil, err
		}
		if now := s.repo.inForce(); now == nil || h != nil && now.Seq == h.Seq {
			return doubts, nil
		}
	}
}

// lookAtPacks compares the packs that the index lists, by that head, with those
// that are there.
func (s *Session) lookAtPacks(ctx context.Context, h *format.Head) (doubts []string, err error) {
	own, err := format.ParseSnapshotID(s.base.snapshot.ID)
	if err != nil {
		return nil, err
	}
	if h == nil || !h.HasOf(own) {
		doubts = append(doubts, "no index run of that snapshot is listed: the index was made anew since, or an older version made the snapshot and stored nothing new")
	}
	listed, err := s.listedPacks(ctx)
	if err != nil {
		return nil, err
	}
	there := make([]bool, len(listed.List))
	err = s.repo.store.List(ctx, "packs", func(o store.Info) error {
		session, hash, ok := parsePack(o.Name)
		if !ok {
			return nil
		}
		switch i, found := listed.Find(hash); {
		case found:
			there[i] = there[i] || listed.Owner(i) == session && int64(listed.List[i].Size) == o.Size
		case session == own && (h == nil || !has(h.Removed, hash)): // a removed one is about to be deleted
			doubts = append(doubts, packLabel(hash)+" is not listed")
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	if h != nil {
		for _, hash := range setAside(h, listed) {
			doubts = append(doubts, packLabel(hash)+" was set aside by a repair, and what it held may be lost")
		}
	}
	var suspects []format.PackHash
	for i, p := range listed.List {
		if !there[i] || p.Damaged {
			suspects = append(suspects, p.Hash)
		}
	}
	for _, hash := range s.unsettled(suspects) {
		doubts = append(doubts, packLabel(hash)+" is missing, cut off or damaged")
	}
	slices.Sort(doubts)
	return doubts, nil
}

// leaveTrace makes sure that a snapshot with disks has a run of its session in the
// index, one that lists nothing if nothing was stored, as when a disk has not
// changed: by it the next backup tells that the index was not made anew since, and
// need not look for all that this one names. It is called when all is listed, and
// costs as much as any publish.
func (s *Session) leaveTrace(ctx context.Context) error {
	isDisk := func(it Item) bool { return it.Kind == ItemDisk }
	if len(s.runs.own) > 0 || !slices.ContainsFunc(s.items, isDisk) {
		return nil
	}
	return s.publishPacks(ctx, nil)
}

// settleChunks bounds the chunks of suspect packs that a session looks for in
// other packs: 32 MiB of IDs. Where there are more, what the base names is
// looked for instead.
const settleChunks = 1 << 20

// unsettled returns those of the suspect packs that hold a chunk which is in no
// pack that can be relied on. What was found stays so for the session: it reads
// much of the index.
func (s *Session) unsettled(suspects []format.PackHash) (left []format.PackHash) {
	var unknown []format.PackHash
	suspect := map[format.PackHash]bool{}
	for _, hash := range suspects {
		suspect[hash] = true
		if _, known := s.base.settled[hash]; !known {
			unknown = append(unknown, hash)
		}
	}
	if len(unknown) > 0 {
		if s.base.settled == nil {
			s.base.settled = map[format.PackHash]bool{}
		}
		s.settle(unknown, suspect)
	}
	for _, hash := range suspects {
		if !s.base.settled[hash] {
			left = append(left, hash)
		}
	}
	return left
}

// settle finds out which of the packs are not needed.
func (s *Session) settle(packs []format.PackHash, suspect map[format.PackHash]bool) {
	type held struct {
		id   chunk.ID
		pack int
	}
	place := map[format.PackHash]int{}
	for i, hash := range packs {
		place[hash] = i
	}
	var chunks []held
	err := s.repo.index.Each(packs, func(at index.Location) error {
		if len(chunks) == settleChunks {
			return errors.New("too many chunks")
		}
		chunks = append(chunks, held{at.Chunk.ID, place[at.Pack.Hash]})
		return nil
	})
	for _, hash := range packs {
		s.base.settled[hash] = err == nil
	}
	for _, c := range chunks {
		hash := packs[c.pack]
		elsewhere := func(at index.Location) bool { return !suspect[at.Pack.Hash] }
		if s.base.settled[hash] && !slices.ContainsFunc(s.repo.index.Usable(c.id), elsewhere) {
			s.base.settled[hash] = false
		}
	}
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
		s.noteDoubts(doubts)
	}
	return doubts, err
}

// noteDoubts says why a session takes longer than others.
func (s *Session) noteDoubts(doubts []string) {
	if len(doubts) == 0 {
		return
	}
	more := ""
	if n := len(doubts) - 1; n > 0 {
		more = fmt.Sprintf(" (and %d more like it)", n)
	}
	s.Note(fmt.Sprintf("going on from snapshot %s: %s%s; so everything that it names was looked for, which takes longer. See `vaultfs verify`",
		s.base.snapshot.Short(), doubts[0], more))
}

// listedPacks are the packs that the index lists. The local copy may turn out
// to be damaged, and is then made again.
func (s *Session) listedPacks(ctx context.Context) (*index.Packs, error) {
	if listed, err := s.repo.index.Packs(); err == nil {
		return listed, nil
	}
	if err := s.repo.refresh(ctx); err != nil {
		return nil, err
	}
	return s.repo.index.Packs()
}

// inForce is the head that the index is in step with; nil if there is none.
func (r *Repo) inForce() *format.Head {
	r.syncing.Lock()
	defer r.syncing.Unlock()
	return r.head
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
