package repo

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"vaultfs/repo/format"
	"vaultfs/repo/store"
)

const (
	// maxDeadShare is the share of a run's entries that may be in packs which are
	// gone before the run is written anew.
	maxDeadShare = 0.2

	// smallIndex is the size of all runs, in bytes, up to which they are gone
	// through whenever a pack was removed; beyond it when a hundredth of the packs
	// were.
	smallIndex = 64 << 20
)

// shrinkRuns writes the runs anew that list many chunks of packs which are gone,
// so that neither the index nor the head's list of removed packs grows for ever.
// Runs keep the name of their session, by which it is told that the index was not
// made anew: the last one of a snapshot stays even if it lists nothing.
//
// A run of a session without a lease is in nobody's hands. Nobody else deletes
// the new one before it is published: collectors do not work at the same time,
// and one whose lease was broken deletes nothing from then on.
func (c *collector) shrinkRuns(ctx context.Context) error {
	if c.last.survey.unreadable() != nil {
		return nil // files of packs that are gone may still be there
	}
	h, err := c.sync(ctx)
	if err != nil || !c.worthShrinking(h) {
		return err
	}
	sh := &shrinker{collector: c, head: h, mentioned: map[format.PackHash]bool{}}
	for rest := h.Runs; len(rest) > 0; {
		n := slices.IndexFunc(rest, func(r format.RunName) bool { return r.Session != rest[0].Session })
		if n < 0 {
			n = len(rest)
		}
		err := sh.session(ctx, rest[:n])
		if isDamage(err) {
			sh.repo.warn(fmt.Sprintf("%v; index runs that list packs which are gone stay as they are. `vaultfs verify` tells what is damaged", err))
		}
		if isDamage(err) || errors.Is(err, ErrNoSpace) {
			return sh.undo(ctx) // no run has to be written anew
		}
		if err != nil {
			return err
		}
		rest = rest[n:]
	}
	return sh.publish(ctx)
}

// worthShrinking tells whether to go through the runs.
func (c *collector) worthShrinking(h *format.Head) bool {
	if len(h.Removed) == 0 && c.result.Manifests == 0 {
		return false
	}
	return c.last.survey.runBytes <= smallIndex || len(h.Removed)*100 >= len(c.last.survey.packs)
}

// A shrinker writes runs anew.
type shrinker struct {
	*collector
	head      *format.Head
	mentioned map[format.PackHash]bool // removed packs that runs go on mentioning
	add, drop []format.RunName
}

// session shrinks the runs of one session.
func (sh *shrinker) session(ctx context.Context, names []format.RunName) error {
	free := !sh.last.survey.atWork(names[0].Session)
	var fresh *format.Run // what remains of those that are dropped
	dropped := 0
	for _, n := range names {
		run, err := sh.repo.loadRun(ctx, n)
		if err != nil {
			return err
		}
		if !free || !sh.mostlyDead(run, len(names)) {
			sh.mention(run)
			continue
		}
		dropped++
		sh.drop = append(sh.drop, n)
		run = run.Only(func(p format.RunPack) bool { return !has(sh.head.Removed, p.Hash) })
		if fresh != nil && !fit(fresh, run) {
			if err := sh.put(ctx, names[0].Session, fresh); err != nil {
				return err
			}
			fresh = nil
		}
		fresh = joinRuns(fresh, run)
	}
	switch {
	case fresh == nil:
		return nil
	case len(fresh.Packs) > 0:
		return sh.put(ctx, names[0].Session, fresh)
	case dropped == len(names) && sh.isRoot(names[0].Session):
		return sh.put(ctx, names[0].Session, &format.Run{Sessions: []format.RunSession{{ID: names[0].Session}}})
	}
	return nil
}

// mostlyDead tells whether a run, of so many of its session, is to be dropped or
// written anew.
func (sh *shrinker) mostlyDead(run *format.Run, of int) bool {
	if len(run.Packs) == 0 {
		return of > 1 || !sh.isRoot(run.Sessions[0].ID)
	}
	dead := 0
	for _, e := range run.Entries {
		if has(sh.head.Removed, run.Packs[e.Pack].Hash) {
			dead++
		}
	}
	return float64(dead) > maxDeadShare*float64(len(run.Entries))
}

// mention notes which removed packs a run that stays mentions.
func (sh *shrinker) mention(run *format.Run) {
	for _, p := range run.Packs {
		if has(sh.head.Removed, p.Hash) {
			sh.mentioned[p.Hash] = true
		}
	}
}

// isRoot tells whether a session became a snapshot that is kept.
func (sh *shrinker) isRoot(session format.SnapshotID) bool {
	return slices.ContainsFunc(sh.last.survey.roots, func(r root) bool { return r.id == session })
}

// put stores a run that takes the place of others.
func (sh *shrinker) put(ctx context.Context, session format.SnapshotID, run *format.Run) error {
	if err := sh.held(ctx); err != nil {
		return err
	}
	slices.SortFunc(run.Entries, format.RunEntry.Compare)
	name, err := sh.repo.putRun(ctx, session, run)
	if err != nil {
		return err
	}
	sh.add = append(sh.add, name)
	return nil
}

// publish puts the new runs in force, and deletes the old ones; unless another
// collector has published since, whose lease protects what this one did not see.
func (sh *shrinker) publish(ctx context.Context) error {
	unmentioned := func(p format.PackHash) bool { return has(sh.head.Removed, p) && !sh.mentioned[p] }
	h, err := sh.repo.publish(ctx, sh.held, func(h *format.Head) bool {
		if h.Epoch != sh.head.Epoch {
			return false
		}
		changed := editRuns(sh.add, sh.drop)(h)
		n := len(h.Removed)
		h.Removed = slices.DeleteFunc(h.Removed, unmentioned)
		if changed = changed || len(h.Removed) != n; changed {
			h.Epoch++
		}
		return changed
	})
	if err != nil {
		return err
	}
	if slices.ContainsFunc(sh.drop, h.Has) || slices.ContainsFunc(sh.add, func(n format.RunName) bool { return !h.Has(n) }) {
		return sh.undo(ctx)
	}
	for _, n := range sh.add {
		sh.result.Written += sh.sizeOf(ctx, n.Object())
	}
	return sh.deleteRuns(ctx, sh.drop)
}

// undo removes what was stored and is not published.
func (sh *shrinker) undo(ctx context.Context) error {
	h, err := sh.repo.currentHead(ctx)
	if err != nil {
		return err
	}
	deleted := sh.result.Deleted
	defer func() { sh.result.Deleted = deleted }()
	return sh.deleteRuns(ctx, slices.DeleteFunc(slices.Clone(sh.add), h.Has))
}

func (sh *shrinker) deleteRuns(ctx context.Context, names []format.RunName) error {
	for _, n := range names {
		size := sh.sizeOf(ctx, n.Object())
		if err := sh.held(ctx); err != nil {
			return err
		}
		err := sh.repo.store.Delete(ctx, n.Object())
		if errors.Is(err, store.ErrNotFound) {
			continue
		}
		if err != nil {
			return err
		}
		sh.result.Deleted += size
	}
	return nil
}

// fit tells whether one run has room for what two list. There are many sessions in
// the runs of an index that was made anew.
func fit(a, b *format.Run) bool {
	return len(a.Entries)+len(b.Entries) <= runEntries && len(a.Sessions)+len(b.Sessions) <= format.MaxRunSessions
}

// joinRuns adds what a run lists to another one; nil is one that lists nothing.
// The entries are to be sorted again.
func joinRuns(to, from *format.Run) *format.Run {
	if to == nil {
		to = new(format.Run)
	}
	sessions := map[uint32]uint32{}
	base := uint32(len(to.Packs))
	for _, p := range from.Packs {
		at, ok := sessions[p.Session]
		if !ok {
			s := from.Sessions[p.Session]
			i := slices.IndexFunc(to.Sessions, func(have format.RunSession) bool { return have.ID == s.ID })
			if i < 0 {
				i, to.Sessions = len(to.Sessions), append(to.Sessions, s)
			} else if to.Sessions[i].SealedSecret == nil {
				to.Sessions[i].SealedSecret = s.SealedSecret
			}
			at = uint32(i)
			sessions[p.Session] = at
		}
		p.Session = at
		to.Packs = append(to.Packs, p)
	}
	for _, e := range from.Entries {
		e.Pack += base
		to.Entries = append(to.Entries, e)
	}
	return to
}
