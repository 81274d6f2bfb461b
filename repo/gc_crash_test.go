package repo_test

import (
	"context"
	"errors"
	"syscall"
	"testing"

	"vaultfs/repo"
	"vaultfs/repo/store"
)

// A wasted repository has a snapshot that is kept, one that is forgotten and
// shares packs with it, one that is forgotten and shares nothing, and packs that
// an interrupted session left.
type wasted struct {
	mem  *store.Mem
	keep filing
	size int64 // of the packs, once all is collected
}

func newWasted(t *testing.T) wasted {
	t.Helper()
	t.Cleanup(repo.SmallPacks())
	m := store.NewMem()
	st := memStore(t, m)
	initRepo(t, st)
	r := reopen(t, st)
	defer r.Close()
	w := wasted{keep: filing{"f": random(1, 5000), "g": random(2, 5000)}}
	old := filing{"f": w.keep["f"], "h": random(3, 5000)}.ingest(t, r, "tree/a")
	w.keep.ingest(t, r, "tree/a")
	other := filing{"i": random(4, 5000)}.ingest(t, r, "tree/b")
	mustForget(t, r, old, other)
	s := filing{"j": random(5, 200_000)}.session(t, r, "tree/c")
	m.CrashAt(m.Ops() + 9)
	if _, err := s.Commit(t.Context(), repo.Info{}); err == nil {
		t.Fatal("the interrupted ingest was not interrupted")
	}
	w.mem = m.Kill()
	st = memStore(t, w.mem.Kill())
	again := reopen(t, st)
	defer again.Close()
	if result := mustCollect(t, again, everything); result.Plan.Unlisted.Packs == 0 || result.Plan.Rewrite.Packs == 0 || result.Plan.Dead.Packs == 0 {
		t.Fatalf("the plan is %+v", *result.Plan)
	}
	w.size = sizeOf(t, st, "packs")
	return w
}

// check proves that what is kept reads, and, if it is to be thorough, that another
// collection leaves no garbage.
func (w wasted) check(t *testing.T, st *store.Dir, thoroughly bool) {
	t.Helper()
	r := reopen(t, st)
	defer r.Close()
	all := mustSnapshots(t, r)
	if len(all) != 1 {
		t.Fatalf("%d snapshots", len(all))
	}
	if err := w.keep.read(t, r, all[0]); err != nil {
		t.Fatal(err)
	}
	if !thoroughly {
		return
	}
	mustCollect(t, r, everything)
	if have := sizeOf(t, st, "packs"); float64(have) > 1.05*float64(w.size) {
		t.Errorf("the packs take %d bytes, want %d", have, w.size)
	}
	checkExplained(t, st)
	w.keep.mustRead(t, st, all[0])
	if unlisted := mustVerify(t, r).Unlisted; unlisted > 0 {
		t.Errorf("%d packs are not listed", unlisted)
	}
}

func collectOnce(st *store.Dir) error {
	r, err := tryOpen(st, nil)
	if err != nil {
		return err
	}
	defer r.Close()
	result, err := r.GC(context.Background(), everything)
	if err == nil {
		err = errors.Join(result.Plan.Blocked...)
	}
	return err
}

func TestCrashAtEveryStepOfACollection(t *testing.T) {
	w := newWasted(t)
	eachCrash(t, w.mem, collectOnce, w.check)
}

// One operation fails, and the collector goes on or gives up as it sees fit.
func TestCollectionWithOneFailure(t *testing.T) {
	w := newWasted(t)
	inParts(t, func(t *testing.T, n int) (more bool) {
		m := w.mem.Kill()
		m.FailOp(n, []error{syscall.EIO, syscall.ENOSPC}[n/2%2])
		st := memStore(t, m)
		_ = collectOnce(st)
		if m.Ops() < n {
			return false
		}
		w.check(t, st, n%3 == 0)
		if t.Failed() {
			t.Fatalf("operation %d failed: %v", n, m.Trace()[max(0, n-4):n])
		}
		return true
	})
}
