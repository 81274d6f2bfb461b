package repo

import (
	"context"
	"slices"
	"time"

	"vaultfs/repo/format"
	"vaultfs/repo/index"
)

// Condemn condemns packs as a collector may that had looked at its lease before
// it was broken, and at the repository long before.
func Condemn(ctx context.Context, r *Repo, objects ...string) error {
	var dead []format.PackHash
	for _, o := range objects {
		if _, hash, ok := parsePack(o); ok {
			dead = append(dead, hash)
		}
	}
	return r.publishLate(ctx, func(h *format.Head) { editCondemned(dead, nil)(h) })
}

// DropFirst takes from the index, as such a collector may, of each chunk that is
// stored twice the place which collectors come to first.
func DropFirst(ctx context.Context, r *Repo) error {
	fresh, err := r.fresh()
	if err != nil {
		return err
	}
	defer fresh.Close()
	if err := fresh.refresh(ctx); err != nil {
		return err
	}
	view, err := fresh.index.View()
	if err != nil {
		return err
	}
	defer view.Close()
	var dropped []format.PackHash
	err = view.Chunks(func(places []index.Entry) error {
		if len(places) > 1 {
			dropped = append(dropped, view.Packs().List[places[0].Pack].Hash)
		}
		return nil
	})
	if err != nil {
		return err
	}
	return r.publishLate(ctx, func(h *format.Head) {
		h.Removed = append(h.Removed, dropped...)
		slices.SortFunc(h.Removed, format.PackHash.Compare)
		h.Removed = slices.Compact(h.Removed)
		h.Condemned = slices.DeleteFunc(h.Condemned, func(p format.CondemnedPack) bool { return has(h.Removed, p.Pack) })
	})
}

// publishLate publishes as a collector, without a lease.
func (r *Repo) publishLate(ctx context.Context, edit func(*format.Head)) error {
	done := false
	_, err := r.publish(ctx, func(context.Context) error { return nil }, func(h *format.Head) bool {
		if done {
			return false
		}
		done = true
		edit(h)
		h.Epoch++
		return true
	})
	return err
}

// WriteOut waits until the packs that a session has closed are stored. No run lists
// them yet.
func WriteOut(ctx context.Context, s *Session) error {
	err := s.writers.Wait()
	s.renewWriters(ctx)
	return err
}

// Impatient makes collectors hardly wait for a lease that cannot be read, until it
// is undone.
func Impatient() (undo func()) {
	was := commitWait
	commitWait = 20 * time.Millisecond
	return func() { commitWait = was }
}
