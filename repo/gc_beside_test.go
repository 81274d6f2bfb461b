package repo_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"vaultfs/repo"
)

// What a collector condemned while a session was at work waits for it, says so,
// and is freed when it has ended.
func TestCollectBesideASession(t *testing.T) {
	defer repo.TinyPacks()()
	st := newStore(t)
	r := newRepo(t, st)
	old, kept := filing{"f": random(1, 5000)}, filing{"f": random(2, 5000)}
	mustForget(t, r, old.ingest(t, r, "tree/a"))
	snap := kept.ingest(t, r, "tree/a")
	s := filing{"g": random(3, 5000)}.session(t, reopen(t, st), "tree/b")
	defer s.Abort(t.Context())
	before := sizeOf(t, st, "packs")
	result := mustCollect(t, r, everything)
	if len(result.Waiting) != 1 || result.Waiting[0].Packs != 2 || result.Waiting[0].Session == nil || result.Waiting[0].Session.ID != s.ID() ||
		!strings.Contains(result.Waiting[0].Reason, "tree/b is being backed up since ") || result.Waiting[0].Bytes < 5000 {
		t.Errorf("it waits for %+v", result.Waiting)
	}
	if plan := result.Plan; plan.Dead.Packs != 2 || len(plan.Waiting) != 1 || plan.Waiting[0].Bytes != result.Waiting[0].Bytes || plan.FreedNow > 4000 {
		t.Errorf("the plan is %+v", *plan)
	}
	if have := sizeOf(t, st, "packs"); have < before {
		t.Errorf("%d bytes are gone", before-have)
	}
	mustCommit(t, s)
	if result := mustCollect(t, r, everything); len(result.Waiting) != 0 || result.Packs != 2 {
		t.Errorf("it did %+v", *result)
	}
	kept.mustRead(t, st, snap)
}

// A pack that was condemned while a session relied on it is taken back when that
// has become a snapshot.
func TestCollectTakesBack(t *testing.T) {
	defer repo.TinyPacks()()
	st := newStore(t)
	r := newRepo(t, st)
	f := filing{"f": random(1, 5000)}
	old := f.ingest(t, r, "tree/a")
	filing{"g": random(2, 5000)}.ingest(t, r, "tree/a")
	s := f.session(t, reopen(t, st), "tree/b")
	defer s.Abort(t.Context())
	mustForget(t, r, old)
	if result := mustCollect(t, r, everything); result.Plan.Dead.Packs == 0 || result.Packs != 0 {
		t.Errorf("it did %+v", *result)
	}
	snap := mustCommit(t, s)
	if snap.Info.Summary.BytesStored != 0 {
		t.Fatalf("the session stored %d bytes, and relied on nothing", snap.Info.Summary.BytesStored)
	}
	f.mustRead(t, st, snap)
	if result := mustCollect(t, r, everything); result.Plan.TakenBack.Packs == 0 || result.Packs != 0 {
		t.Errorf("it did %+v", *result)
	}
	f.mustRead(t, st, snap)
	mustForget(t, r, snap)
	if result := mustCollect(t, r, everything); result.Packs == 0 {
		t.Errorf("it did %+v", *result)
	}
}

// A session whose chunks were condemned since it began commits all the same, also
// when its index has learned of that.
func TestCommitWhatWasCondemnedSince(t *testing.T) {
	defer repo.TinyPacks()()
	st := newStore(t)
	r := newRepo(t, st)
	f := filing{"f": random(1, 5000)}
	old := f.ingest(t, r, "tree/a")
	s := f.session(t, r, "tree/b")
	defer s.Abort(t.Context())
	mustForget(t, r, old)
	mustCollect(t, r, everything)
	other := filing{"h": random(3, 5000)}.session(t, r, "tree/c") // which brings the index up to date
	defer other.Abort(t.Context())
	snap := mustCommit(t, s)
	mustCommit(t, other)
	mustCollect(t, r, everything)
	f.mustRead(t, st, snap)
}

// A snapshot that a reader has pinned stays until the pin is released.
func TestCollectBesideAReader(t *testing.T) {
	defer repo.TinyPacks()()
	st := newStore(t)
	r := newRepo(t, st)
	f := filing{"f": random(1, 5000)}
	old := f.ingest(t, r, "tree/a")
	filing{"g": random(2, 5000)}.ingest(t, r, "tree/a")
	reader := reopen(t, st)
	pin, err := reader.Pin(t.Context(), "mount /mnt", old)
	if err != nil {
		t.Fatal(err)
	}
	defer pin.Release(t.Context())
	mustForget(t, r, old)
	result := mustCollect(t, r, everything)
	if len(result.Waiting) != 1 || result.Manifests != 0 ||
		!strings.Contains(result.Waiting[0].Reason, "snapshot "+old.Short()+" of tree/a was forgotten, but is in use: mount /mnt since ") {
		t.Errorf("it waits for %+v", result.Waiting)
	}
	if err := f.read(t, reader, old); err != nil {
		t.Errorf("what is pinned: %v", err)
	}
	if _, err := r.Pin(t.Context(), "mount /other", old); !errors.Is(err, repo.ErrNotFound) {
		t.Errorf("pinning a forgotten snapshot: %v", err)
	}
	if err := pin.Release(t.Context()); err != nil {
		t.Fatal(err)
	}
	if result := mustCollect(t, r, everything); result.Manifests != 1 || result.Packs != 2 || len(result.Waiting) != 0 {
		t.Errorf("it did %+v", *result)
	}
}

// A session goes on from a base that is forgotten and collected meanwhile.
func TestCollectABaseThatIsInherited(t *testing.T) {
	defer repo.SmallPacks()()
	st := newStore(t)
	r := newRepo(t, st)
	first := newBackup("vm/a", 10)
	base := mustIngest(t, r, first)
	second := first.changed(20)
	s, err := reopen(t, st).NewSession(t.Context(), repo.SessionOptions{Source: "vm/a", Kind: "vm", Machine: "m-vm/a", Verify: true, Base: base})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Abort(t.Context())
	disk, err := s.OpenBase(t.Context(), "vda")
	if err != nil {
		t.Fatal(err)
	}
	mustForget(t, r, base)
	if result := mustCollect(t, r, everything); result.Manifests != 0 || result.Packs != 0 {
		t.Errorf("it did %+v", *result)
	}
	root, err := second.disk.storeFrom(t.Context(), s, disk, first.disk)
	if err != nil {
		t.Fatal(err)
	}
	snap, err := second.commit(t.Context(), s, root)
	if err != nil {
		t.Fatal(err)
	}
	if result := mustCollect(t, r, everything); result.Manifests != 1 {
		t.Errorf("it did %+v", *result)
	}
	second.mustRead(t, reopen(t, st), snap)
	if names := objects(t, st); !strings.Contains(strings.Join(names, " "), "forgotten/"+base.ID) {
		t.Error("the mark of the snapshot before is gone")
	}
	// What a collector copied is no doubt about a base.
	if doubts, notes := doubtsAbout(t, st, snap); doubts+notes != "" {
		t.Errorf("the doubts are %q, the notes %q", doubts, notes)
	}
}

// A second collector waits for the first, or says who is at work.
func TestTwoCollectors(t *testing.T) {
	st := newStore(t)
	r := newRepo(t, st)
	mustForget(t, r, filing{"f": random(1, 5000)}.ingest(t, r, "tree/a"))
	second := reopen(t, st)
	done := make(chan error, 1)
	o := everything
	o.Planned = func(*repo.GCPlan) { // the first is at work
		alone := everything
		alone.Alone = true
		if _, err := second.GC(t.Context(), alone); !errors.Is(err, repo.ErrInUse) || !strings.Contains(err.Error(), "has been collecting since") {
			t.Errorf("a second collector: %v", err)
		}
		waiting := make(chan bool, 1)
		go func() {
			later := everything
			later.Progress = func(p repo.GCProgress) {
				if strings.HasPrefix(p.Phase, "waiting for process ") {
					select {
					case waiting <- true:
					default:
					}
				}
			}
			_, err := second.GC(t.Context(), later)
			done <- err
		}()
		select {
		case <-waiting:
		case err := <-done:
			t.Errorf("the second collector did not wait: %v", err)
			done <- err
		case <-time.After(time.Minute):
			t.Error("the second collector does not say that it waits")
		}
	}
	mustCollect(t, r, o)
	if err := <-done; err != nil {
		t.Errorf("the second collector: %v", err)
	}
	checkExplained(t, st)
}

// A collector whose lease is broken stops, and another one ends what it began.
func TestCollectorWithABrokenLease(t *testing.T) {
	st := newStore(t)
	r := newRepo(t, st)
	f := filing{"f": random(1, 5000)}
	mustForget(t, r, filing{"g": random(2, 5000)}.ingest(t, r, "tree/a"))
	snap := f.ingest(t, r, "tree/a")
	o := everything
	o.Planned = func(*repo.GCPlan) {
		all, err := r.Sessions(t.Context())
		if err != nil || len(all) != 1 || all[0].Kind != "gc" || all[0].Purpose != "gc" {
			t.Fatalf("at work are %+v (%v)", all, err)
		}
		if err := r.BreakSession(t.Context(), all[0].ID); err != nil {
			t.Fatal(err)
		}
		mustCollect(t, reopen(t, st), everything)
	}
	if _, err := r.GC(t.Context(), o); !errors.Is(err, repo.ErrLeaseBroken) {
		t.Errorf("the collector whose lease was broken: %v", err)
	}
	f.mustRead(t, st, snap)
}
