package index

import (
	"math/rand/v2"
	"slices"
	"testing"

	"pgregory.net/rapid"
	"vaultfs/chunk"
	"vaultfs/repo/format"
)

// Chunks whose places go over several blocks, and blocks that begin with the same
// 8 bytes, are found like others.
func TestViewOfManyBlocks(t *testing.T) {
	w, rng := newWorld(), rand.New(rand.NewPCG(1, 2))
	for _, packs := range []int{90, 40, 1} {
		chunks := make([][]int, packs)
		for i := range chunks {
			chunks[i] = rng.Perm(testIDs)[:rng.IntN(testIDs)]
		}
		name := w.name()
		w.runs[name] = w.newRun(chunks)
		w.edit([]format.RunName{name}, nil)
	}
	x := openInstance(t, t.TempDir())
	defer x.Close()
	w.sync(t, x)
	if len(x.tables[0].fences) < 20 {
		t.Fatalf("%d blocks are not many", len(x.tables[0].fences))
	}
	v, err := x.View()
	if err != nil {
		t.Fatal(err)
	}
	defer v.Close()
	held := heldView{v, map[chunk.ID][]Location{}}
	for n := range testIDs {
		held.want[testID(n)] = w.want(x.view, testID(n))
	}
	rapid.Check(t, func(t *rapid.T) { held.check(t) })
}

// A pack that is taken from another table than before is marked like before.
func TestTranslateOfAPackThatMoved(t *testing.T) {
	w := newWorld()
	x := openInstance(t, t.TempDir())
	defer x.Close()
	x.unmerged = true // so that the table that stays is one of both views
	first, again := w.name(), w.name()
	w.runs[first] = w.newRun([][]int{rand.Perm(testIDs)})
	w.runs[again] = w.runs[first]
	w.edit([]format.RunName{first, again}, nil)
	w.sync(t, x)
	view := func() *View {
		v, err := x.View()
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { v.Close() })
		return v
	}
	before := view()
	marks := before.NewBitmap()
	if err := before.Each(func(e Entry) error { marks.Set(e.Number); return nil }); err != nil {
		t.Fatal(err)
	}
	for _, gone := range []format.RunName{first, again} {
		w.head.Runs = slices.DeleteFunc([]format.RunName{first, again}, func(n format.RunName) bool { return n == gone })
		slices.SortFunc(w.head.Runs, format.RunName.Compare)
		w.head.Seq++
		w.sync(t, x)
		after := view()
		got, err := after.Translate(before, marks)
		if err != nil {
			t.Fatal(err)
		}
		n := 0
		err = after.Each(func(e Entry) error {
			if n++; !got.Has(e.Number) {
				t.Errorf("entry %d lost its mark", e.Number)
			}
			return nil
		})
		if err != nil || n != testIDs {
			t.Errorf("%d entries, want %d: %v", n, testIDs, err)
		}
	}
}

// A session's secret may stand in one run only, that with its data packs.
func TestSecretOfASessionInSeveralTables(t *testing.T) {
	for _, secretFirst := range []bool{true, false} {
		w := newWorld()
		x := openInstance(t, t.TempDir())
		defer x.Close()
		with := w.newRun([][]int{{1, 2, 3}, {4, 5}})
		without := w.newRun([][]int{{6, 7, 8}, {9, 10}})
		without.Sessions[0] = format.RunSession{ID: with.Sessions[0].ID}
		for i := range without.Packs {
			without.Packs[i].Kind = format.StructurePack
		}
		runs := []*format.Run{with, without}
		if !secretFirst {
			slices.Reverse(runs)
		}
		x.spillAt = 1
		for _, run := range runs {
			if err := x.Add(w.name(), run); err != nil {
				t.Fatal(err)
			}
		}
		if len(x.tables) != 1 || len(x.tables[0].sessions) != 1 {
			t.Fatalf("%d tables", len(x.tables))
		}
		for n := 1; n <= 5; n++ {
			found := x.Lookup(testID(n))
			if len(found) != 1 || !slices.Equal(found[0].SealedSecret, with.Sessions[0].SealedSecret) {
				t.Errorf("chunk %d is at %+v", n, found)
			}
		}
	}
}
