package repo_test

import (
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"vaultfs/repo"
	"vaultfs/repo/store"
)

// before opens a store of a process which, the first time that it is about to do
// something, waits until fn has returned.
func before(t *testing.T, m *store.Mem, op, prefix string, fn func()) *store.Dir {
	t.Helper()
	var once atomic.Bool
	st, err := m.Process(func(what, object string) func() {
		if what == op && strings.HasPrefix(object, prefix) && once.CompareAndSwap(false, true) {
			fn()
		}
		return func() {}
	}).Store()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if !once.Load() {
			t.Errorf("there was no %s %s", op, prefix)
		}
	})
	return st
}

// A collector is stopped when it is about to delete a pack, its lease is broken and
// the index is made anew from the packs that are there. What it then deletes
// nobody has come to rely on.
func TestIndexIsMadeAnewWhileACollectorIsStopped(t *testing.T) {
	defer repo.TinyPacks()()
	m := store.NewMem()
	st := memStore(t, m)
	initRepo(t, st)
	r := reopen(t, st)
	f := filing{"f": random(1, 5000)}
	mustForget(t, r, f.ingest(t, r, "tree/a"))
	kept := filing{"g": random(2, 5000)}
	kept.ingest(t, r, "tree/a")
	var snap *repo.Snapshot
	stopped := before(t, m, "unlink", "packs/", func() {
		other := reopen(t, st)
		for _, s := range mustSessions(t, other) {
			if err := other.BreakSession(t.Context(), s.ID); err != nil {
				t.Error(err)
			}
		}
		if err := other.RebuildIndex(t.Context()); err != nil {
			t.Error(err)
		}
		snap = f.ingest(t, other, "tree/b")
	})
	if _, err := reopen(t, stopped).GC(t.Context(), everything); err == nil {
		t.Error("a collector whose lease was broken went on")
	}
	f.mustRead(t, st, snap)
	mustCollect(t, r, everything)
	f.mustRead(t, st, snap)
	mustVerify(t, r)
	fresh := freshSize(t, map[string]filing{"tree/a": kept, "tree/b": f})
	if have := sizeOf(t, st, "packs"); float64(have) > 1.05*float64(fresh) {
		t.Errorf("the packs take %d bytes, in a fresh repository %d", have, fresh)
	}
}

func mustSessions(t *testing.T, r *repo.Repo) []repo.SessionInfo {
	t.Helper()
	all, err := r.Sessions(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// Of what is stored twice one place is given up. When it becomes known in the last
// moment that the other one is damaged, it is not.
func TestDamageIsToldBeforeTheRemovalIsPublished(t *testing.T) {
	defer repo.TinyPacks()()
	m := store.NewMem()
	st := memStore(t, m)
	initRepo(t, st)
	r := reopen(t, st)
	f := filing{"f": random(1, 5000)}
	one, two := f.session(t, r, "tree/a"), f.session(t, reopen(t, st), "tree/b")
	a, b := mustCommit(t, one), mustCommit(t, two)
	var publish atomic.Int32
	slow, err := m.Process(func(what, object string) func() {
		if what == "link" && strings.HasPrefix(object, "head/") && publish.Add(1) == 2 {
			condemned := repo.Condemned(t.Context(), r)
			if len(condemned) == 0 {
				t.Error("nothing is condemned")
			}
			for _, name := range objects(t, st) {
				if strings.HasPrefix(name, "packs/") && !slices.Contains(condemned, name) {
					if contents(t, st)[name][8] == 1 { // of data
						replace(t, st, name, bitFlipped(t, st, name, 100))
					}
				}
			}
			if got, err := reopen(t, st).Verify(t.Context(), repo.VerifyOptions{ReadData: true}); err != nil || len(got.Findings) == 0 {
				t.Errorf("verify finds %+v (%v)", got, err)
			}
		}
		return func() {}
	}).Store()
	if err != nil {
		t.Fatal(err)
	}
	mustCollect(t, reopen(t, slow), everything)
	f.mustRead(t, st, a)
	f.mustRead(t, st, b)
}

// Manifests go before what they need, so that none with holes is left when the
// collector is killed.
func TestForgottenManifestsGoFirst(t *testing.T) {
	defer repo.TinyPacks()()
	m := store.NewMem()
	st := memStore(t, m)
	initRepo(t, st)
	r := reopen(t, st)
	old := filing{"f": random(1, 5000)}.ingest(t, r, "tree/a")
	filing{"g": random(2, 5000)}.ingest(t, r, "tree/a")
	mustForget(t, r, old)
	slow := before(t, m, "unlink", "packs/", func() {
		if slices.Contains(objects(t, st), "snapshots/"+old.ID) {
			t.Error("a pack is deleted while a manifest names what is in it")
		}
	})
	mustCollect(t, reopen(t, slow), everything)
}

// What keeps a collection from removing anything is told also when it happens
// after the plan.
func TestManifestIsDamagedAfterThePlan(t *testing.T) {
	defer repo.TinyPacks()()
	st := memStore(t, store.NewMem())
	initRepo(t, st)
	r := openDamaged(t, st)
	old := filing{"f": random(1, 5000)}.ingest(t, r, "tree/a")
	kept := filing{"g": random(2, 5000)}.ingest(t, r, "tree/a")
	mustForget(t, r, old)
	o := everything
	o.Planned = func(*repo.GCPlan) {
		name := "snapshots/" + kept.ID
		replace(t, st, name, bitFlipped(t, st, name, 50))
	}
	result, err := r.GC(t.Context(), o)
	if err != nil || len(result.Plan.Blocked) != 1 || result.Packs != 0 {
		t.Errorf("it did %+v (%v)", *result, err)
	}
}

// That the time was used up is told also when that was found amid the last packs.
func TestTimeIsUsedUpWhileCopying(t *testing.T) {
	t.Cleanup(repo.SmallPacks())
	st := newStore(t)
	r := newRepo(t, st)
	for i := range uint64(4) {
		shared := random(100+i, 5000)
		source := "tree/" + string(rune('a'+i))
		mustForget(t, r, filing{"f": shared, "g": random(200+i, 5000)}.ingest(t, r, source))
		filing{"f": shared}.ingest(t, r, source)
	}
	o := everything
	begin := time.Now()
	o.For = 2 * time.Second
	o.Progress = func(p repo.GCProgress) {
		if p.Phase == "copying" {
			time.Sleep(time.Until(begin.Add(o.For + 100*time.Millisecond)))
		}
	}
	result := mustCollect(t, r, o)
	if result.Plan.Rewrite.Packs < 3 || !strings.Contains(result.Unfinished, "the time was used up") {
		t.Errorf("it did %+v, with the plan %+v", *result, *result.Plan)
	}
}

// A head names so many packs that are to be removed and no more: the rest is left
// to the next collection.
func TestMoreIsUnusedThanAHeadNames(t *testing.T) {
	defer repo.TinyPacks()()
	defer repo.FewCondemned(3)()
	st := newStore(t)
	r := newRepo(t, st)
	mustForget(t, r, filing{"f": random(1, 5000), "h": random(3, 5000), "i": random(4, 5000)}.ingest(t, r, "tree/a"))
	kept := filing{"g": random(2, 5000)}
	snap := kept.ingest(t, r, "tree/a")
	first := mustCollect(t, r, everything)
	if first.Packs != 3 || first.Plan.Dead.Packs <= 3 || !strings.Contains(first.Unfinished, "more is unused than is removed at a time") {
		t.Errorf("it did %+v, with the plan %+v", *first, *first.Plan)
	}
	for range 3 {
		mustCollect(t, r, everything)
	}
	if last := mustCollect(t, r, everything); last.Plan.Dead.Packs != 0 || last.Unfinished != "" {
		t.Errorf("at last it did %+v, with the plan %+v", *last, *last.Plan)
	}
	kept.mustRead(t, st, snap)
}
