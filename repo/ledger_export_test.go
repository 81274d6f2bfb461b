package repo

import (
	"context"
	"slices"
	"time"

	"vaultfs/repo/format"
)

// SetClock sets the clock that the ledger is written and read by, until it is
// undone.
func SetClock(now func() time.Time) (undo func()) {
	was := wallClock
	wallClock = now
	return func() { wallClock = was }
}

// RecordOften makes verify record every pack at once, until it is undone.
func RecordOften() (undo func()) {
	was := recordInterval
	recordInterval = 0
	return func() { recordInterval = was }
}

// ReadTimes are when the packs of a repository were last read, by the objects'
// names; below 0, damage was found then.
func ReadTimes(ctx context.Context, r *Repo) map[string]int64 {
	l, err := r.Ledger(ctx)
	if err == nil {
		err = r.refresh(ctx)
	}
	if err != nil {
		panic(err)
	}
	packs, err := r.index.Packs()
	if err != nil {
		panic(err)
	}
	times := map[string]int64{}
	for i, p := range packs.List {
		times[packObject(packs.Owner(i), p.Hash)] = l.pack(p.Hash)
	}
	return times
}

// RemovePack does to a pack what a collector does in the end.
func RemovePack(ctx context.Context, r *Repo, name string) error {
	_, hash, _ := parsePack(name)
	_, err := r.publish(ctx, func(context.Context) error { return nil }, func(h *format.Head) bool {
		i, ok := slices.BinarySearchFunc(h.Removed, hash, format.PackHash.Compare)
		if ok {
			return false
		}
		h.Removed = slices.Insert(h.Removed, i, hash)
		return true
	})
	if err != nil {
		return err
	}
	return r.store.Delete(ctx, name)
}

// ShortChecklists makes verify look for few chunks at a time, and remember
// no more than so many that are lacking, until it is undone.
func ShortChecklists(size, most int) (undo func()) {
	wasSize, wasMost := checklistSize, lackingMost
	checklistSize, lackingMost = size, most
	return func() { checklistSize, lackingMost = wasSize, wasMost }
}
