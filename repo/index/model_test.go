package index

import (
	"cmp"
	"crypto/sha256"
	"fmt"
	"slices"
	"testing"

	"pgregory.net/rapid"
	"vaultfs/chunk"
	"vaultfs/repo/format"
	"vaultfs/repo/seal"
)

// testSpill makes tables of few entries, so that small tests spill and merge.
const testSpill = 30

// A world is a repository as the index sees it: runs in a store, and a head.
type world struct {
	next  int
	runs  map[format.RunName]*format.Run
	byID  map[*format.Run]map[chunk.ID][]Location
	head  format.Head
	packs []format.PackHash // that runs list
	loads int
}

func newWorld() *world {
	return &world{runs: map[format.RunName]*format.Run{}, byID: map[*format.Run]map[chunk.ID][]Location{}}
}

// testID is one of few IDs. Many share their first 8 bytes, by which tables are
// searched.
func testID(n int) (id chunk.ID) {
	sum := sha256.Sum256(fmt.Append(nil, n))
	copy(id[:], sum[:])
	copy(id[:8], []byte{byte(n % 7), 0, 0, 0, 0, 0, 0, 1})
	return id
}

const testIDs = 60

func (w *world) fresh() int { w.next++; return w.next }

func (w *world) name() format.RunName {
	n := sha256.Sum256(fmt.Append(nil, "run", w.fresh()))
	return format.RunName{Session: format.SnapshotID(n[:16]), Run: format.RunID(n[16:])}
}

// newRun is a run of packs of one session; which chunks they hold is drawn.
func (w *world) newRun(chunks [][]int) *format.Run {
	n := sha256.Sum256(fmt.Append(nil, "session", w.fresh()))
	secret := slices.Repeat(n[:], 40)[:seal.SealedSecretSize]
	run := &format.Run{Sessions: []format.RunSession{{ID: format.SnapshotID(n[:16]), SealedSecret: secret}}}
	for i, ids := range chunks {
		hash := format.PackHash(sha256.Sum256(fmt.Append(nil, "pack", w.fresh())))
		w.packs = append(w.packs, hash)
		run.Packs = append(run.Packs, format.RunPack{Hash: hash, Salt: format.Salt(hash), Kind: format.DataPack, Size: 1 << 20})
		for ordinal, id := range ids {
			e := format.PackEntry{Kind: format.Data, ID: testID(id), Offset: uint32(64 + 100*ordinal), Sealed: 100, Plain: 80}
			run.Entries = append(run.Entries, format.RunEntry{PackEntry: e, Pack: uint32(i), Ordinal: uint32(ordinal)})
		}
	}
	slices.SortFunc(run.Entries, format.RunEntry.Compare)
	return run
}

// merged is one run that lists what others list.
func (w *world) merged(old []format.RunName) *format.Run {
	m := newMemory()
	for _, n := range old {
		m.add(n, w.runs[n])
	}
	run := &format.Run{Sessions: m.sessions, Packs: m.packs, Entries: m.entries}
	slices.SortFunc(run.Entries, format.RunEntry.Compare)
	return run
}

// edit puts runs into the head in the place of others, which are deleted.
func (w *world) edit(add, remove []format.RunName) {
	w.head.Seq++
	for _, n := range add {
		i, _ := slices.BinarySearchFunc(w.head.Runs, n, format.RunName.Compare)
		w.head.Runs = slices.Insert(slices.Clone(w.head.Runs), i, n)
	}
	w.head.Runs = slices.DeleteFunc(slices.Clone(w.head.Runs), func(n format.RunName) bool { return slices.Contains(remove, n) })
}

func (w *world) load(n format.RunName) (*format.Run, error) {
	w.loads++
	if r, ok := w.runs[n]; ok {
		return r, nil
	}
	return nil, fmt.Errorf("run %v is not there", n)
}

// want is what a lookup has to find, in a view of some runs.
func (w *world) want(view []format.RunName, id chunk.ID) (all []Location) {
	for _, n := range view {
		for _, l := range w.locations(w.runs[n])[id] {
			if !slices.Contains(w.head.Removed, l.Pack.Hash) {
				all = append(all, l)
			}
		}
	}
	return sorted(all)
}

// locations is what a run says, by chunk.
func (w *world) locations(r *format.Run) map[chunk.ID][]Location {
	if w.byID[r] == nil {
		w.byID[r] = map[chunk.ID][]Location{}
		for _, e := range r.Entries {
			p := r.Packs[e.Pack]
			s := r.Sessions[p.Session]
			w.byID[r][e.ID] = append(w.byID[r][e.ID], Location{e.PackEntry, e.Ordinal, p, s.ID, s.SealedSecret})
		}
	}
	return w.byID[r]
}

func sorted(all []Location) []Location {
	for i := range all {
		all[i].Pack.Session = 0 // a place in the source's own list
	}
	slices.SortFunc(all, func(a, b Location) int {
		return cmp.Or(slices.Compare(a.Pack.Hash[:], b.Pack.Hash[:]), cmp.Compare(a.Ordinal, b.Ordinal))
	})
	return slices.CompactFunc(all, sameLocation)
}

func sameLocation(a, b Location) bool {
	return a.Chunk == b.Chunk && a.Ordinal == b.Ordinal && a.Pack == b.Pack && a.Session == b.Session &&
		slices.Equal(a.SealedSecret, b.SealedSecret)
}

// check compares every lookup with the view.
func (w *world) check(t rapid.TB, x *Index, view []format.RunName) {
	t.Helper()
	condemned := func(p format.PackHash) bool {
		return slices.ContainsFunc(w.head.Condemned, func(c format.CondemnedPack) bool { return c.Pack == p })
	}
	for n := range testIDs + 1 {
		id := testID(n)
		got := x.Lookup(id)
		for i := 1; i < len(got); i++ {
			if condemned(got[i-1].Pack.Hash) && !condemned(got[i].Pack.Hash) {
				t.Fatalf("chunk %d: a condemned pack comes first", n)
			}
		}
		usable := slices.ContainsFunc(got, func(l Location) bool { return !condemned(l.Pack.Hash) })
		if len(x.Usable(id)) > 0 != usable {
			t.Fatalf("chunk %d: usable is %v", n, !usable)
		}
		places := len(got)
		if got, want := sorted(got), w.want(view, id); !slices.EqualFunc(got, want, sameLocation) || places != len(want) {
			t.Fatalf("chunk %d is in %d places, want %d", n, places, len(want))
		}
	}
	w.checkPacks(t, x, view)
}

// checkPacks compares the list of packs with the view.
func (w *world) checkPacks(t rapid.TB, x *Index, view []format.RunName) {
	t.Helper()
	got, err := x.Packs()
	if err != nil {
		t.Fatal(err)
	}
	want := map[format.PackHash]bool{}
	for _, n := range view {
		r := w.runs[n]
		for _, p := range r.Packs {
			if slices.Contains(w.head.Removed, p.Hash) {
				continue
			}
			want[p.Hash] = true
			i, ok := got.Find(p.Hash)
			if !ok || got.List[i].Size != p.Size || got.Owner(i) != r.Sessions[p.Session].ID || got.List[i].Damaged {
				t.Fatalf("pack %v is listed: %v, among %+v", p.Hash, ok, got)
			}
		}
	}
	if len(got.List) != len(want) {
		t.Fatalf("%d packs are listed, want %d", len(got.List), len(want))
	}
}

// An instance is an index of one process, and the runs that it knows of.
type instance struct {
	*Index
	view []format.RunName
}

func openInstance(t rapid.TB, dir string) *instance {
	t.Helper()
	x, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	x.spillAt = testSpill
	return &instance{Index: x}
}

func (w *world) sync(t rapid.TB, x *instance) {
	t.Helper()
	if err := x.Sync(&w.head, w.load); err != nil {
		t.Fatal(err)
	}
	for k := 1; k < len(x.tables) && !x.unmerged; k++ {
		if x.tables[k-1].count < 2*x.tables[k].count {
			t.Fatalf("tables of %d and %d entries stay apart", x.tables[k-1].count, x.tables[k].count)
		}
	}
	x.view = slices.Clone(w.head.Runs)
}

// machine is the world, with two processes that share a cache directory and
// one that has a temporary one.
type machine struct {
	*world
	dir       string
	instances [3]*instance
	views     []heldView
}

func (m *machine) dirOf(i int) string {
	if i == 2 {
		return ""
	}
	return m.dir
}

func (m *machine) pick(t *rapid.T) (int, *instance) {
	i := rapid.IntRange(0, 2).Draw(t, "instance")
	return i, m.instances[i]
}

// Publish is a session of one instance that lists new packs.
func (m *machine) Publish(t *rapid.T) {
	_, x := m.pick(t)
	chunks := rapid.SliceOfN(rapid.SliceOfNDistinct(rapid.IntRange(0, testIDs-1), 1, 15, rapid.ID[int]), 1, 3).Draw(t, "chunks")
	name, run := m.name(), m.newRun(chunks)
	m.runs[name] = run
	m.edit([]format.RunName{name}, nil)
	if err := x.Add(name, run); err != nil {
		t.Fatal(err)
	}
	x.view = append(x.view, name)
}

// Merge puts one run in the place of several, which one instance is told and
// the others find out.
func (m *machine) Merge(t *rapid.T) {
	_, x := m.pick(t)
	if len(m.head.Runs) < 2 {
		t.Skip()
	}
	old := rapid.SliceOfNDistinct(rapid.SampledFrom(m.head.Runs), 1, 4, rapid.ID[format.RunName]).Draw(t, "old")
	by := m.name()
	m.runs[by] = m.merged(old)
	m.edit([]format.RunName{by}, old)
	x.Replace(old, by)
	if slices.ContainsFunc(old, func(n format.RunName) bool { return !slices.Contains(x.view, n) }) {
		return // it does not know all of them, and fetches the new one
	}
	x.view = append(slices.DeleteFunc(x.view, func(n format.RunName) bool { return slices.Contains(old, n) }), by)
}

// Drop takes a run out of the head, as a collector does.
func (m *machine) Drop(t *rapid.T) {
	if len(m.head.Runs) == 0 {
		t.Skip()
	}
	m.edit(nil, []format.RunName{rapid.SampledFrom(m.head.Runs).Draw(t, "run")})
}

// Rewrite puts smaller runs in the place of some, without packs that they list,
// as a collector does. One instance may know the new ones before it syncs.
func (m *machine) Rewrite(t *rapid.T) {
	_, x := m.pick(t)
	if len(m.head.Runs) == 0 {
		t.Skip()
	}
	old := rapid.SliceOfNDistinct(rapid.SampledFrom(m.head.Runs), 1, 6, rapid.ID[format.RunName]).Draw(t, "old")
	knows := rapid.Bool().Draw(t, "known at once")
	var by []format.RunName
	for _, n := range old {
		keep := rapid.SliceOfN(rapid.Bool(), len(m.runs[n].Packs), -1).Draw(t, "kept")
		i := -1
		run := m.runs[n].Only(func(format.RunPack) bool { i++; return keep[i] })
		if len(run.Packs) == 0 {
			continue
		}
		name := m.name()
		m.runs[name], by = run, append(by, name)
		if knows {
			if err := x.Add(name, run); err != nil {
				t.Fatal(err)
			}
			x.view = append(x.view, name)
		}
	}
	m.edit(by, old)
}

// Repeat lists what some runs list in one more run.
func (m *machine) Repeat(t *rapid.T) {
	if len(m.head.Runs) == 0 {
		t.Skip()
	}
	old := rapid.SliceOfNDistinct(rapid.SampledFrom(m.head.Runs), 1, 3, rapid.ID[format.RunName]).Draw(t, "repeated")
	name := m.name()
	m.runs[name] = m.merged(old)
	m.edit([]format.RunName{name}, nil)
}

// Condemn changes what is said of packs; instances see it when they sync.
func (m *machine) Condemn(t *rapid.T) {
	if len(m.packs) == 0 {
		t.Skip()
	}
	draw := func(label string) []format.PackHash {
		return rapid.SliceOfNDistinct(rapid.SampledFrom(m.packs), 0, 3, rapid.ID[format.PackHash]).Draw(t, label)
	}
	m.head.Seq++
	m.head.Condemned, m.head.Removed = nil, draw("removed")
	for _, p := range draw("condemned") {
		m.head.Condemned = append(m.head.Condemned, format.CondemnedPack{Pack: p})
	}
	for _, x := range m.instances {
		m.sync(t, x)
	}
}

func (m *machine) Sync(t *rapid.T) {
	_, x := m.pick(t)
	m.sync(t, x)
}

// Reopen ends one process, in good order or not, and starts another.
func (m *machine) Reopen(t *rapid.T) {
	i, x := m.pick(t)
	if rapid.Bool().Draw(t, "killed") && i < 2 {
		for _, table := range x.tables {
			table.close()
		}
	} else if err := x.Close(); err != nil {
		t.Fatal(err)
	}
	m.instances[i] = openInstance(t, m.dirOf(i))
	m.instances[i].spillAt = testSpill
	m.sync(t, m.instances[i])
}

func (m *machine) Check(t *rapid.T) {
	i, x := m.pick(t)
	m.check(t, x.Index, x.view)
	if x.Stale() {
		t.Fatalf("instance %d found its cache damaged", i)
	}
}

func TestIndexIsAMap(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		m := &machine{world: newWorld(), dir: t.TempDir()}
		for i := range m.instances {
			m.instances[i] = openInstance(rt, m.dirOf(i))
			defer func() { m.instances[i].Close() }()
		}
		defer m.closeViews()
		rt.Repeat(map[string]func(*rapid.T){
			"publish": m.Publish, "publish more": m.Publish, "merge": m.Merge, "drop": m.Drop,
			"rewrite": m.Rewrite, "repeat": m.Repeat,
			"condemn": m.Condemn, "sync": m.Sync, "reopen": m.Reopen,
			"view": m.View, "look at view": m.LookAtView, "translate": m.Translate, "": m.Check,
		})
	})
}
