package index

import (
	"math/rand/v2"
	"slices"
	"testing"

	"vaultfs/repo/format"
)

// What a collector leaves of the index is not fetched again: of the runs that it
// replaces only the new ones are loaded, and what is out of force goes from the
// tables in time.
func TestCollectionFetchesOnlyNewRuns(t *testing.T) {
	w, rng := newWorld(), rand.New(rand.NewPCG(1, 2))
	for range 40 {
		name := w.name()
		w.runs[name] = w.newRun([][]int{rng.Perm(testIDs)[:20], rng.Perm(testIDs)[:20]})
		w.edit([]format.RunName{name}, nil)
	}
	x := openInstance(t, t.TempDir())
	defer x.Close()
	step := func(what string, loads int, packs int) {
		t.Helper()
		w.loads = 0
		w.sync(t, x)
		if w.loads != loads || x.Stale() {
			t.Errorf("%s: %d runs are loaded, want %d", what, w.loads, loads)
		}
		w.check(t, x.Index, x.view)
		if n := x.Len(); n != int64(20*packs) {
			t.Errorf("%s: %d entries, want %d", what, n, 20*packs)
		}
		for _, table := range x.tables {
			if table.count < table.entries/2 {
				t.Errorf("%s: of %d entries %d are in force", what, table.entries, table.count)
			}
		}
	}
	step("first", 40, 80)
	w.edit(nil, slices.Clone(w.head.Runs[:5]))
	step("runs dropped", 0, 70)
	for _, n := range slices.Clone(w.head.Runs[:6]) {
		name := w.name()
		first := w.runs[n].Packs[0].Hash
		w.runs[name] = w.runs[n].Only(func(p format.RunPack) bool { return p.Hash != first })
		w.edit([]format.RunName{name}, []format.RunName{n})
	}
	step("runs rewritten", 6, 64)
	merged, old := w.name(), slices.Clone(w.head.Runs[:10])
	w.runs[merged] = w.merged(old)
	entries := int64(0)
	for _, table := range x.tables {
		entries += table.entries
	}
	w.edit([]format.RunName{merged}, old)
	step("runs merged", 1, 64)
	w.edit(nil, slices.Clone(w.head.Runs[len(w.head.Runs)-20:]))
	w.sync(t, x)
	w.loads = 0
	left := int64(0)
	for _, table := range x.tables {
		left += table.entries
	}
	if left >= entries || left > 2*x.Len()+testSpill {
		t.Errorf("%d entries are in the tables, %d of them in force; there were %d", left, x.Len(), entries)
	}
	if w.check(t, x.Index, x.view); w.loads > 0 {
		t.Errorf("%d runs are loaded", w.loads)
	}
}
