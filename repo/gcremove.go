package repo

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"vaultfs/repo/format"
	"vaultfs/repo/index"
	"vaultfs/repo/store"
)

// A removal is what a collector has taken from the index, and may delete.
type removal struct {
	survey *survey
	drop   []int // packs of the survey's view that the index does not list any more
	// damaged are packs in which damage was found on the way.
	damaged []format.PackHash
}

// remove takes condemned packs from the index, or back, and says what may be
// deleted. It begins anew when another collector has published since the head
// was read, or a lease cannot be read, which one is that is just being committed.
func (c *collector) remove(ctx context.Context) (r *removal, err error) {
	for begin := time.Now(); ; {
		if err := c.repo.clearDead(ctx); err != nil {
			return nil, err
		}
		published := false
		err = c.again(ctx, func() error {
			s, err := c.look(ctx)
			if err != nil {
				return err
			}
			if err := c.mark(ctx, s); err != nil {
				s.view.Close()
				return err
			}
			if s.unreadable() != nil && time.Since(begin) < commitWait {
				return nil
			}
			r = &removal{survey: s, damaged: c.damaged}
			back, err := r.judge(c)
			if err != nil {
				return err
			}
			if published = r.idle(back); !published {
				published, err = c.publishRemoval(ctx, r, back)
			}
			return err
		})
		if err != nil {
			return nil, err
		}
		if published {
			c.blockedSince(append(slices.Clone(r.survey.unread), c.needed.unread...))
			return r, nil
		}
		if err := pause(ctx, rivalPoll); err != nil {
			return nil, err
		}
	}
}

// blockedSince tells of what came to keep anything from being removed since the plan
// was made.
func (c *collector) blockedSince(blocked []error) {
	if len(c.plan.Blocked) > 0 {
		return
	}
	c.plan.Blocked = blocked
	for _, err := range blocked {
		c.repo.warn(fmt.Sprintf("%v: so nothing is removed that might be needed", err))
	}
}

// judge decides which of the condemned packs are removed, and which are taken
// back: of what is needed, everything has a good place outside of those that are
// removed. What cannot be decided stays condemned.
func (r *removal) judge(c *collector) (back []format.PackHash, err error) {
	s := r.survey
	packs := s.view.Packs()
	drop := map[int]bool{}
	for i := range packs.List {
		epoch, isCondemned := packs.Condemned(i)
		if !isCondemned {
			continue
		}
		if s.blocker(epoch) != nil {
			continue
		}
		drop[i] = true
	}
	if len(s.unread)+len(c.needed.unread) > 0 {
		return nil, nil
	}
	if len(drop) > 0 {
		err = s.view.Chunks(func(places []index.Entry) error {
			if !c.needed.bits.Has(places[0].Number) {
				return nil
			}
			if !slices.ContainsFunc(places, func(e index.Entry) bool { return drop[e.Pack] }) {
				return nil
			}
			if slices.ContainsFunc(places, func(e index.Entry) bool { return !drop[e.Pack] && s.grades[e.Pack] <= condemned }) {
				return nil
			}
			_, at := best(s, slices.DeleteFunc(slices.Clone(places), func(e index.Entry) bool { return !drop[e.Pack] }))
			delete(drop, at[0].Pack)
			back = append(back, packs.List[at[0].Pack].Hash)
			return nil
		})
	}
	for i := range drop {
		r.drop = append(r.drop, i)
	}
	slices.Sort(r.drop)
	slices.SortFunc(back, format.PackHash.Compare)
	return back, err
}

// idle tells whether there is nothing to publish, nor to delete.
func (r *removal) idle(back []format.PackHash) bool {
	s := r.survey
	packs := s.view.Packs()
	unlisted := func(p format.CondemnedPack) bool {
		_, listed := packs.Find(p.Pack)
		return !listed
	}
	return len(r.drop)+len(back)+len(r.damaged)+len(s.unlisted)+len(s.runs)+len(s.forgotten) == 0 &&
		!slices.ContainsFunc(s.head.Condemned, unlisted) &&
		(len(s.marks) == 0 || len(s.tombstones()) == len(s.marks))
}

// publishRemoval publishes what was decided, unless another collector has
// published since the head was read. Publishes of writers do not matter, unless
// they tell of damage in a pack that something else was given up for. Also when nothing was decided a publish precedes a deletion: a writer whose lease
// was broken, and who did not know it when he looked, fails to list his packs.
func (c *collector) publishRemoval(ctx context.Context, r *removal, back []format.PackHash) (bool, error) {
	for {
		h, err := c.repo.currentHead(ctx)
		if err != nil {
			return false, indexLost(err)
		}
		if err := c.held(ctx); err != nil {
			return false, err
		}
		if h.Epoch != r.survey.head.Epoch {
			return false, nil
		}
		if r.distrusts(h) {
			return false, nil
		}
		r.edit(h, back)
		h.Epoch++
		h.Seq++
		err = c.repo.putHead(ctx, h)
		if errors.Is(err, store.ErrExists) {
			continue
		}
		if err != nil {
			return false, fmt.Errorf("publishing the index: %w", err)
		}
		// It counts once it is seen in the newest head. One that was made behind the
		// others' backs, long after its turn, is not the newest.
		if c.repo.newestSeq(ctx) != h.Seq {
			return false, nil
		}
		return true, c.repo.dropOld(ctx, "head", h.Seq)
	}
}

// distrusts tells whether a head calls a pack damaged that was good when it was
// decided what goes.
func (r *removal) distrusts(h *format.Head) bool {
	packs := r.survey.view.Packs()
	return slices.ContainsFunc(h.Damaged, func(p format.PackHash) bool {
		i, listed := packs.Find(p)
		return listed && r.survey.grades[i] <= condemned
	})
}

// edit makes of a head what was decided.
func (r *removal) edit(h *format.Head, back []format.PackHash) {
	packs := r.survey.view.Packs()
	dropped := make([]format.PackHash, len(r.drop))
	for i, pack := range r.drop {
		dropped[i] = packs.List[pack].Hash
	}
	h.Condemned = slices.DeleteFunc(h.Condemned, func(p format.CondemnedPack) bool {
		if _, listed := packs.Find(p.Pack); !listed && r.survey.blocker(p.Epoch) == nil {
			return true
		}
		return has(dropped, p.Pack) || has(back, p.Pack)
	})
	editDamaged(r.damaged, nil)(h)
	h.Damaged = slices.DeleteFunc(h.Damaged, func(p format.PackHash) bool { return has(dropped, p) })
	h.Removed = append(h.Removed, dropped...)
	slices.SortFunc(h.Removed, format.PackHash.Compare)
	h.Removed = slices.Compact(h.Removed)
}
