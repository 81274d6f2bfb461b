package index

import (
	"slices"

	"vaultfs/repo/format"
)

// Stale tells that a part of the copy turned out to be damaged and was dropped:
// Sync fetches it again. Until then chunks may not be found.
func (x *Index) Stale() bool {
	x.mu.RLock()
	defer x.mu.RUnlock()
	return x.stale
}

// dropStale forgets the tables that cover a run which the head does not name.
func (x *Index) dropStale(h *format.Head) {
	var gone []format.RunName
	for n := range x.covered() {
		if !h.Has(n) {
			gone = append(gone, n)
		}
	}
	x.forget(gone)
}

// dropUnreadable forgets the tables that gave an error.
func (x *Index) dropUnreadable() {
	var lost []format.RunName
	for _, t := range x.tables {
		if t.bad.Load() {
			lost = append(lost, t.runs...)
		}
	}
	if len(lost) > 0 {
		x.forget(lost)
		x.stale = true
	}
}

// forget drops what covers any of the runs. A run that stands in the place of
// others may be spread over several tables, so all that share a run with one
// that is dropped go with it: else the rest would pass for the whole run.
func (x *Index) forget(runs []format.RunName) {
	gone := map[format.RunName]bool{}
	for _, n := range runs {
		gone[n] = true
	}
	affected := func(runs []format.RunName) bool {
		if !slices.ContainsFunc(runs, func(n format.RunName) bool { return gone[n] }) {
			return false
		}
		for _, n := range runs {
			gone[n] = true
		}
		return true
	}
	for more := len(gone) > 0; more; {
		before := len(gone)
		if affected(x.recent.runs) {
			x.recent = newMemory()
		}
		x.tables = slices.DeleteFunc(x.tables, func(t *table) bool {
			drop := affected(t.runs)
			if drop {
				x.drop(t)
			}
			return drop
		})
		more = len(gone) > before
	}
}

// drop closes a table that is not used any more. Its file goes with the next
// catalog.
func (x *Index) drop(t *table) { t.close() }
