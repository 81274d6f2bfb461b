package index

import (
	"errors"
	"os"
	"slices"
	"testing"

	"pgregory.net/rapid"
	"vaultfs/chunk"
	"vaultfs/repo/format"
)

// A heldView is a view, and what it had to show when it was made.
type heldView struct {
	*View
	want map[chunk.ID][]Location
}

func (m *machine) closeViews() {
	for _, v := range m.views {
		v.Close()
	}
}

// View makes a view; of the ones before, the latest stay open.
func (m *machine) View(t *rapid.T) {
	_, x := m.pick(t)
	v, err := x.View()
	if err != nil {
		t.Fatal(err)
	}
	if len(m.views) == 3 {
		m.views[0].Close()
		m.views = m.views[1:]
	}
	want := map[chunk.ID][]Location{}
	for n := range testIDs {
		want[testID(n)] = m.want(x.view, testID(n))
	}
	m.views = append(m.views, heldView{v, want})
	m.views[len(m.views)-1].check(t)
	for i, p := range v.Packs().List {
		at := slices.IndexFunc(m.head.Condemned, func(c format.CondemnedPack) bool { return c.Pack == p.Hash })
		if epoch, ok := v.Packs().Condemned(i); ok != (at >= 0) || (ok && epoch != m.head.Condemned[at].Epoch) {
			t.Fatalf("pack %v is condemned: %v at %d", p.Hash, ok, epoch)
		}
	}
}

func (m *machine) pickView(t *rapid.T, label string) heldView {
	if len(m.views) == 0 {
		t.Skip()
	}
	return m.views[rapid.IntRange(0, len(m.views)-1).Draw(t, label)]
}

// LookAtView finds the same as when the view was made.
func (m *machine) LookAtView(t *rapid.T) { m.pickView(t, "view").check(t) }

// Translate marks chunks in one view, and carries the marks to another.
func (m *machine) Translate(t *rapid.T) {
	from, to := m.pickView(t, "from"), m.pickView(t, "to")
	marks, marked := from.NewBitmap(), map[chunk.ID]bool{}
	err := from.Find(drawIDs(t), func(_ int, e Entry) error {
		marks.Set(e.Number)
		marked[e.ID] = true
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	got, err := to.Translate(from.View, marks)
	if err != nil {
		t.Fatal(err)
	}
	err = to.Each(func(e Entry) error {
		if got.Has(e.Number) != marked[e.ID] {
			t.Fatalf("entry %d of chunk %v: bit is %v", e.Number, e.ID, got.Has(e.Number))
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// drawIDs draws sorted IDs.
func drawIDs(t *rapid.T) (ids []chunk.ID) {
	for _, n := range rapid.SliceOfNDistinct(rapid.IntRange(0, testIDs+3), 0, testIDs, rapid.ID[int]).Draw(t, "chunks") {
		ids = append(ids, testID(n))
	}
	slices.SortFunc(ids, compareID)
	return ids
}

// check compares all ways to read a view with what it has to show.
func (v heldView) check(t *rapid.T) {
	t.Helper()
	byNumber, places := map[int64]Entry{}, map[chunk.ID][]Location{}
	last := int64(-1)
	err := v.Each(func(e Entry) error {
		l, err := v.Location(e)
		if p := v.Packs(); e.Number <= last || e.Number >= v.Entries() || p.List[e.Pack].Hash != l.Pack.Hash ||
			p.List[e.Pack].Kind != l.Pack.Kind || p.Owner(e.Pack) != l.Session {
			t.Fatalf("entry %+v behind %d, at %+v", e, last, l)
		}
		byNumber[e.Number], last = e, e.Number
		places[e.ID] = append(places[e.ID], l)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	total := 0
	for id, want := range v.want {
		total += len(want)
		if n := len(places[id]); !slices.EqualFunc(sorted(places[id]), want, sameLocation) || n != len(want) {
			t.Fatalf("chunk %v is in %d places, want %d", id, n, len(want))
		}
	}
	if len(byNumber) != total {
		t.Fatalf("%d entries, want %d", len(byNumber), total)
	}
	v.checkFind(t, byNumber)
	v.checkChunks(t, byNumber)
}

func (v heldView) checkChunks(t *rapid.T, byNumber map[int64]Entry) {
	t.Helper()
	var last chunk.ID
	seen := 0
	err := v.Chunks(func(places []Entry) error {
		id := places[0].ID
		if (seen > 0 && compareID(last, id) >= 0) || len(places) != len(v.want[id]) {
			t.Fatalf("chunk %v comes after %v with %d places, want %d", id, last, len(places), len(v.want[id]))
		}
		for i, e := range places {
			if byNumber[e.Number] != e || e.ID != id || (i > 0 && places[i-1].Number >= e.Number) {
				t.Fatalf("chunk %v: place %+v", id, e)
			}
		}
		last, seen = id, seen+len(places)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if seen != len(byNumber) {
		t.Fatalf("%d entries come with their chunks, want %d", seen, len(byNumber))
	}
}

func (v heldView) checkFind(t *rapid.T, byNumber map[int64]Entry) {
	t.Helper()
	ids := drawIDs(t)
	found := make([]int, len(ids))
	last := 0
	err := v.Find(ids, func(at int, e Entry) error {
		if e.ID != ids[at] || byNumber[e.Number] != e || at < last {
			t.Fatalf("%v at %d: entry %+v is found", ids[at], at, e)
		}
		found[at]++
		last = at
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for at, id := range ids {
		if found[at] != len(v.want[id]) {
			t.Fatalf("chunk %v is found %d times, want %d", id, found[at], len(v.want[id]))
		}
	}
}

// A view of a table that goes bad says so, the index mends itself, and a new
// view is right.
func TestViewOfDamagedTable(t *testing.T) {
	c, dir := newCached(t), t.TempDir()
	for name, b := range c.files {
		if err := os.WriteFile(dir+"/"+name, b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	x := openInstance(t, dir)
	defer x.Close()
	c.sync(t, x)
	v, err := x.View()
	if err != nil {
		t.Fatal(err)
	}
	defer v.Close()
	if err := os.Truncate(x.tables[0].file.Name(), 0); err != nil {
		t.Fatal(err)
	}
	if err := v.Each(func(Entry) error { return nil }); !errors.Is(err, ErrTable) || !x.Stale() {
		t.Fatalf("%v, stale: %v", err, x.Stale())
	}
	if err := v.Find([]chunk.ID{testID(1)}, func(int, Entry) error { return nil }); !errors.Is(err, ErrTable) {
		t.Fatal(err)
	}
	c.sync(t, x)
	again, err := x.View()
	if err != nil {
		t.Fatal(err)
	}
	defer again.Close()
	n := 0
	if err := again.Each(func(Entry) error { n++; return nil }); err != nil {
		t.Fatal(err)
	}
	want := 0
	for i := range testIDs {
		want += len(c.want(x.view, testID(i)))
	}
	if n != want {
		t.Errorf("%d entries, want %d", n, want)
	}
}

func TestFindRefusesUnsortedChunks(t *testing.T) {
	x, err := Open("")
	if err != nil {
		t.Fatal(err)
	}
	defer x.Close()
	v, err := x.View()
	if err != nil {
		t.Fatal(err)
	}
	defer v.Close()
	for _, ids := range [][]chunk.ID{{{2}, {1}}, {{1}, {1}}} {
		if err := v.Find(ids, func(int, Entry) error { return nil }); err == nil {
			t.Errorf("%v is taken", ids)
		}
	}
}
