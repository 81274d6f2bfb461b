package repo_test

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	"vaultfs/repo"
	"vaultfs/repo/store"
)

// replace puts other bytes in the place of an object; nil takes it away.
func replace(t testing.TB, st *store.Dir, name string, b []byte) {
	t.Helper()
	if err := st.Delete(t.Context(), name); err != nil {
		t.Fatal(err)
	}
	if b == nil {
		return
	}
	if err := st.Put(t.Context(), name, b); err != nil {
		t.Fatal(err)
	}
}

// bitFlipped is an object with one bit the other way.
func bitFlipped(t testing.TB, st *store.Dir, name string, at int) []byte {
	t.Helper()
	b, err := st.Get(t.Context(), name, 64<<20)
	if err != nil {
		t.Fatal(err)
	}
	b = bytes.Clone(b)
	b[at] ^= 1
	return b
}

// A manifest that cannot be read could need anything: nothing is removed but
// what interrupted sessions left, until it is forgotten.
func TestCollectWithAManifestThatCannotBeRead(t *testing.T) {
	st := newStore(t)
	r := newRepo(t, st)
	f := filing{"f": random(1, 5000)}
	lost, kept := filing{"g": random(2, 5000)}.ingest(t, r, "tree/b"), f.ingest(t, r, "tree/a")
	mustForget(t, r, filing{"h": random(3, 5000)}.ingest(t, r, "tree/c"))
	unlisted := "packs/" + strings.Repeat("ab", 16) + "/" + strings.Repeat("cd", 32)
	if err := st.Put(t.Context(), unlisted, random(4, 1000)); err != nil {
		t.Fatal(err)
	}
	replace(t, st, "snapshots/"+lost.ID, bitFlipped(t, st, "snapshots/"+lost.ID, 200))
	packs := sizeOf(t, st, "packs")
	r = reopen(t, st)
	result, err := r.GC(t.Context(), everything)
	if err != nil {
		t.Fatal(err)
	}
	if plan := result.Plan; len(plan.Blocked) != 1 || !errors.Is(plan.Blocked[0], repo.ErrDamaged) || !strings.Contains(plan.Blocked[0].Error(), lost.ID) ||
		plan.FreedNow != plan.Unlisted.Bytes || plan.Unlisted.Packs != 1 {
		t.Errorf("the plan is %+v", *plan)
	}
	if have := sizeOf(t, st, "packs"); have != packs-1000 || result.Packs != 1 {
		t.Errorf("of %d bytes %d are left: %+v", packs, have, *result)
	}
	mustForget(t, r, lost)
	mustCollect(t, r, everything)
	f.mustRead(t, st, kept)
	if have, want := sizeOf(t, st, "packs"), freshSize(t, map[string]filing{"tree/a": f}); have != want {
		t.Errorf("the packs take %d bytes, in a fresh repository %d", have, want)
	}
}

// Structure that cannot be read could name anything. Elsewhere there may be
// another copy of it.
func TestCollectWithStructureThatCannotBeRead(t *testing.T) {
	defer repo.TinyPacks()()
	st := newStore(t)
	r := newRepo(t, st)
	f := filing{"f": random(1, 5000)}
	snap := f.ingest(t, r, "tree/a")
	mustForget(t, r, filing{"g": random(2, 5000)}.ingest(t, r, "tree/b"))
	node := repo.PackOf(r, snap.Items[0].Root)
	replace(t, st, node, bitFlipped(t, st, node, 100))
	packs := sizeOf(t, st, "packs")
	result, err := reopen(t, st).GC(t.Context(), everything)
	if err != nil {
		t.Fatal(err)
	}
	if plan := result.Plan; len(plan.Blocked) != 1 || !errors.Is(plan.Blocked[0], repo.ErrDamaged) || sizeOf(t, st, "packs") != packs {
		t.Errorf("the plan is %+v", *plan)
	}
	again := f.ingest(t, reopen(t, st), "tree/a") // which heals it
	result = mustCollect(t, reopen(t, st), everything)
	if result.Packs != 3 { // what was forgotten, and the damaged pack
		t.Errorf("it did %+v", *result)
	}
	f.mustRead(t, st, snap)
	f.mustRead(t, st, again)
}

// A pack that is missing stays listed while something in it is needed: it may come
// back. When all of that is stored elsewhere, or is not needed, it goes.
func TestCollectWithAMissingPack(t *testing.T) {
	defer repo.TinyPacks()()
	st := newStore(t)
	r := newRepo(t, st)
	f := filing{"f": random(1, 5000)}
	snap := f.ingest(t, r, "tree/a")
	node := repo.PackOf(r, snap.Items[0].Root)
	var data string
	for _, name := range objects(t, st) {
		if strings.HasPrefix(name, "packs/") && name != node {
			data = name
		}
	}
	pack, err := st.Get(t.Context(), data, 64<<20)
	if err != nil {
		t.Fatal(err)
	}
	replace(t, st, data, nil)
	if result := mustCollect(t, reopen(t, st), everything); result.Plan.Lost != 1 {
		t.Errorf("the plan is %+v", *result.Plan)
	}
	if err := st.Put(t.Context(), data, pack); err != nil { // the disk is there again
		t.Fatal(err)
	}
	f.mustRead(t, st, snap)
	replace(t, st, data, nil)
	f.ingest(t, reopen(t, st), "tree/a")
	if result := mustCollect(t, reopen(t, st), everything); result.Plan.Lost != 0 || result.Plan.Dead.Packs != 1 {
		t.Errorf("the plan is %+v", *result.Plan)
	}
	f.mustRead(t, st, snap)
	if result, err := reopen(t, st).Verify(t.Context(), repo.VerifyOptions{ReadData: true}); err != nil || len(result.Findings) > 0 {
		t.Errorf("findings %v (%v)", result.Findings, err)
	}
}

// What is damaged is found when it is to be copied: the pack stays, and the head
// says so, so that nobody relies on it.
func TestCollectFindsDamage(t *testing.T) {
	st := newStore(t)
	r := newRepo(t, st)
	f := filing{"f": random(1, 5000), "g": random(2, 5000), "h": random(3, 5000)}
	old := f.ingest(t, r, "tree/a")
	delete(f, "g")
	kept := f.ingest(t, r, "tree/a")
	mustForget(t, r, old)
	var data string
	for _, name := range objects(t, st) {
		if strings.HasPrefix(name, "packs/"+old.ID) && sizeOf(t, st, name[:len("packs/")+32]) > 0 {
			if b, err := st.Get(t.Context(), name, 64<<20); err == nil && b[8] == 1 {
				data = name
			}
		}
	}
	b := bitFlipped(t, st, data, 100)
	for at := 600; at < 15_000; at += 500 { // whatever lies first in the pack
		b[at] ^= 1
	}
	replace(t, st, data, b)
	result := mustCollect(t, reopen(t, st), everything)
	if result.Plan.Rewrite.Packs == 0 || !strings.Contains(strings.Join(objects(t, st), " "), data) {
		t.Errorf("it did %+v", *result)
	}
	if plan := mustCollect(t, reopen(t, st), everything).Plan; plan.Rewrite.Packs != 0 {
		t.Errorf("the second plan is %+v", *plan)
	}
	f.ingest(t, reopen(t, st), "tree/a") // heals
	mustCollect(t, reopen(t, st), everything)
	f.mustRead(t, st, kept)
	if strings.Contains(strings.Join(objects(t, st), " "), data) {
		t.Error("the damaged pack is still there")
	}
}

// A mark that cannot be read removes nothing.
func TestCollectWithAMarkThatCannotBeRead(t *testing.T) {
	st := newStore(t)
	initRepo(t, st)
	r := reopen(t, st)
	snap := filing{"f": random(1, 5000)}.ingest(t, r, "tree/a")
	if err := st.Put(t.Context(), "forgotten/"+snap.ID, random(2, 100)); err != nil {
		t.Fatal(err)
	}
	before := sizeOf(t, st, "packs")
	result := mustCollect(t, reopen(t, st), everything)
	if result.Manifests != 0 || sizeOf(t, st, "packs") != before || result.Plan.Snapshots != 1 {
		t.Errorf("it did %+v", *result)
	}
}

// Without an index nothing can be collected; the error says what to do.
func TestCollectWithoutAnIndex(t *testing.T) {
	st := newStore(t)
	initRepo(t, st)
	r := reopen(t, st)
	filing{"f": random(1, 5000)}.ingest(t, r, "tree/a")
	for _, name := range objects(t, st) {
		if strings.HasPrefix(name, "head/") {
			replace(t, st, name, bitFlipped(t, st, name, 60))
		}
	}
	if _, err := reopen(t, st).GC(t.Context(), everything); !errors.Is(err, repo.ErrDamaged) || !strings.Contains(err.Error(), "vaultfs repair index") {
		t.Errorf("it says %v", err)
	}
}
