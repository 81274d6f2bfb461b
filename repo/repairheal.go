package repo

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"time"

	"vaultfs/chunk"
	"vaultfs/repo/format"
)

// donors is how many snapshots of another repository are tried for each that has
// lost something, the nearest in time first.
const donors = 8

// heal takes what is lost from the other repository. Each pass makes known what
// was hidden behind a lost map or directory, so that there are several.
//
// A copy of this repository has the same chunks under the same IDs. In another
// one they are cut and named differently: there the same place of the same item is
// read, and cut and named as here. In either case nothing is stored whose ID is not
// that of a lost chunk, so that other bytes heal nothing and take no room.
func (p *repair) heal(ctx context.Context) error {
	if p.options.From == nil {
		return nil
	}
	if err := p.options.From.refresh(ctx); err != nil {
		return err
	}
	if p.isCopy() {
		for {
			healed, err := p.healFrom(ctx, 0, p.copyLost)
			if err != nil || healed == 0 {
				return err
			}
		}
	}
	all, pin, err := p.donors(ctx)
	if err != nil {
		return err
	}
	defer pin.Release(context.WithoutCancel(ctx))
	for nth := 0; nth < donors; {
		healed, err := p.healFrom(ctx, nth, func(ctx context.Context, s *Session, lost *lostSet) error {
			return p.healItems(ctx, s, lost, all, nth)
		})
		if err != nil {
			return err
		}
		if healed == 0 {
			nth++
		}
	}
	return nil
}

// donors are the snapshots of the other repository, pinned.
func (p *repair) donors(ctx context.Context) ([]*Snapshot, *Pin, error) {
	all, err := p.options.From.Snapshots(ctx)
	if err != nil && len(all) == 0 {
		return nil, nil, err
	}
	for _, err := range split(err) {
		p.repo.warn("in the other repository: " + err.Error())
	}
	pin, err := p.options.From.Pin(ctx, "repair of another repository", all...)
	if err != nil {
		return nil, nil, errors.Join(err, pin.Release(ctx))
	}
	return all, pin, nil
}

// A lostSet is all that is lost at one moment.
type lostSet struct {
	chunks map[chunk.ID]format.Kind
	items  []lostItem // that have lost something
}

type lostItem struct {
	snapshot *Snapshot
	item     Item
}

// lost finds all that is lost. It takes about 100 bytes of memory for each chunk.
func (p *repair) lost(ctx context.Context) (*lostSet, error) {
	all := &lostSet{chunks: map[chunk.ID]format.Kind{}}
	err := p.eachLost(ctx, func(s *Snapshot, it Item, l *lostChunk) error {
		all.chunks[l.id] = l.kind
		if n := len(all.items); n == 0 || all.items[n-1].snapshot != s || all.items[n-1].item.Name != it.Name {
			all.items = append(all.items, lostItem{s, it})
		}
		return nil
	})
	return all, err
}

// healFrom makes one pass, and tells how many chunks are not lost any more.
func (p *repair) healFrom(ctx context.Context, nth int, fn func(context.Context, *Session, *lostSet) error) (healed int64, err error) {
	lost, err := p.lost(ctx)
	if err != nil || len(lost.chunks) == 0 {
		return 0, err
	}
	var session *Session
	err = p.storing(ctx, func(s *Session) error {
		session = s
		s.wanted = func(id chunk.ID) bool { _, ok := lost.chunks[id]; return ok }
		return fn(ctx, s, lost)
	})
	if err != nil || session.bytesStored.Load() == 0 {
		return 0, err
	}
	f := &lostFinder{repo: p.repo, places: p.places}
	for id, kind := range lost.chunks {
		if f.has(kind, id, -1) {
			healed++
		}
	}
	p.result.Healed += healed
	return healed, nil
}

// copyLost takes lost chunks from a copy of the repository.
func (p *repair) copyLost(ctx context.Context, s *Session, lost *lostSet) error {
	from, lane, i := p.options.From, s.Lane(), 0
	for id, kind := range lost.chunks {
		p.count("healing: chunk", i, len(lost.chunks))
		i++
		if len(from.index.Lookup(id)) == 0 {
			continue
		}
		plain, err := from.fetch(ctx, kind, id)
		if errors.Is(err, ErrDamaged) {
			continue
		}
		if err != nil {
			return err
		}
		if err := s.putKind(ctx, lane, kind, plain); err != nil {
			return err
		}
	}
	return nil
}

// putKind puts a chunk of any kind.
func (s *Session) putKind(ctx context.Context, l *Lane, k format.Kind, plain []byte) (err error) {
	switch {
	case k == format.Data:
		_, err = l.Put(ctx, plain)
	case format.PackFor(k) == format.StructurePack:
		_, err = l.putStructure(ctx, k, plain)
	default:
		_, err = l.put(ctx, k, plain, &s.directories)
	}
	return err
}

// healItems takes what items have lost from the nth nearest snapshots of their
// sources in another repository.
func (p *repair) healItems(ctx context.Context, s *Session, lost *lostSet, all []*Snapshot, nth int) error {
	f := &lostFinder{repo: p.repo, places: p.places, clean: p.clean}
	lane := s.Lane() // one, however many items: each lane holds a pack open
	for i, l := range lost.items {
		p.count("healing: item", i, len(lost.items))
		donor := donorOf(l, all, nth)
		if donor == nil {
			continue
		}
		h := &healer{session: s, from: p.options.From, finder: f, lane: lane}
		if err := h.item(ctx, l.item, *donor); err != nil {
			// What the other repository cannot give does not end the repair.
			if ctx.Err() != nil || s.ctx.Err() != nil || !errors.Is(err, errDonor) {
				return err
			}
			p.repo.warn("the other repository: " + err.Error())
		}
	}
	return nil
}

// donorOf is the same item of the nth nearest snapshot of its source.
func donorOf(l lostItem, all []*Snapshot, nth int) *Item {
	var same []*Snapshot
	for _, s := range all {
		it := s.Item(l.item.Name)
		if s.Source == l.snapshot.Source && it != nil && it.Kind == l.item.Kind && (it.Kind == ItemTree || it.Size == l.item.Size) {
			same = append(same, s)
		}
	}
	if nth >= len(same) {
		return nil
	}
	away := func(s *Snapshot) time.Duration { return s.Time.Sub(l.snapshot.Time).Abs() }
	slices.SortStableFunc(same, func(a, b *Snapshot) int { return cmp.Compare(away(a), away(b)) })
	return same[nth].Item(l.item.Name)
}

// dropMissing takes packs out of the index that are missing and of which no
// snapshot needs anything, while nobody writes. The others stay listed: they may come
// back, when a disk is mounted again.
func (p *repair) dropMissing(ctx context.Context) error {
	if len(p.suspects) == 0 {
		return nil
	}
	lost, err := p.lost(ctx)
	if err != nil {
		return err
	}
	for _, kind := range lost.chunks {
		if kind.Structured() {
			return nil // what is below it is not known
		}
	}
	sessions, err := p.repo.Sessions(ctx)
	if err != nil {
		return err
	}
	for _, s := range sessions {
		if s.Alive && (s.Kind == "write" || s.Kind == "unknown") {
			return nil // it may have relied on a pack before that was lost
		}
	}
	entries, err := p.entries(ctx, p.suspects)
	if err != nil {
		return err
	}
	var drop []format.PackHash
	for i, s := range p.suspects {
		needed := false
		for _, at := range entries[i] {
			_, ok := lost.chunks[at.Chunk.ID]
			needed = needed || ok
		}
		if s.missing && !needed {
			drop = append(drop, s.hash)
		}
	}
	if len(drop) == 0 {
		return nil
	}
	p.result.Dropped = len(drop)
	return p.publish(ctx, editSetAside(drop, false))
}
