package index

import "vaultfs/repo/format"

// Stale tells that a part of the copy turned out to be damaged and was dropped:
// Sync fetches it again. Until then chunks may not be found.
func (x *Index) Stale() bool {
	x.mu.RLock()
	defer x.mu.RUnlock()
	return x.stale
}

// dropStale takes those runs out of force that the head does not name. What they
// say stays in the tables, as far as other runs say it too.
func (x *Index) dropStale(h *format.Head) {
	gone := map[format.RunName]bool{}
	for n := range x.covered() {
		if !h.Has(n) {
			gone[n] = true
		}
	}
	x.forget(gone)
}

// dropUnreadable drops the tables that gave an error.
func (x *Index) dropUnreadable() {
	lost := map[format.RunName]bool{}
	for _, t := range x.tables {
		if !t.bad.Load() {
			continue
		}
		for _, n := range t.runs {
			lost[n] = true
		}
		clear(t.runs)
		x.stale = true
	}
	if len(lost) > 0 {
		x.forget(lost)
	}
}

// forget takes runs out of force, and drops the tables that no other run needs.
// A run that stands in the place of others may be spread over several tables: when
// one of those is lost it is forgotten in all of them, because the rest would pass
// for the whole run.
func (x *Index) forget(gone map[format.RunName]bool) {
	if takeNames(x.recent.runs, gone) && !anyName(x.recent.runs) {
		x.recent = newMemory()
	}
	var left []*table
	for _, t := range x.tables {
		if takeNames(t.runs, gone) {
			t.weigh()
		}
		if anyName(t.runs) {
			left = append(left, t)
		} else {
			t.close() // the file goes with the next catalog
		}
	}
	x.tables = left
}
