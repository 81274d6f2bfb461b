package repo_test

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"vaultfs/repo"
	"vaultfs/repo/store"
)

// The tests of this file are of the rules by which sessions, readers and collectors
// keep out of each other's way, a clause each: a process is stopped between two
// operations, others do something, and it goes on.

// A step tells whether an operation is one that is waited for. It is asked about
// each operation of a process, in order.
type step func(op, object string) bool

// upon is an operation on an object whose name begins with one of the prefixes.
func upon(op string, prefixes ...string) step {
	return func(what, object string) bool {
		return what == op && slices.ContainsFunc(prefixes, func(p string) bool { return strings.HasPrefix(object, p) })
	}
}

// inTurn is the last of some steps that come one after the other, maybe with
// others in between.
func inTurn(steps ...step) step {
	return func(op, object string) bool {
		if steps[0](op, object) {
			steps = steps[1:]
			if len(steps) == 0 {
				steps = []step{func(string, string) bool { return false }}
				return true
			}
		}
		return false
	}
}

// anyStep is every operation.
func anyStep(string, string) bool { return true }

// whenRemoving are steps of a collector that has made its plan and has condemned what
// it means to remove: it clears dead leases away, and surveys the repository.
func whenRemoving(steps ...step) step {
	return inTurn(append([]step{upon("list", "tmp"), upon("list", "head")}, steps...)...)
}

// An interruption stops a process once, before a step, until fn has returned. It
// does so from the moment on when it is armed.
type interruption struct {
	mu    sync.Mutex
	armed bool
	when  step
	fn    func()
}

func (i *interruption) gate(op, object string) func() {
	i.mu.Lock()
	now := i.armed && i.when(op, object)
	if now {
		i.armed = false
	}
	fn := i.fn
	i.mu.Unlock()
	if now {
		fn()
	}
	return func() {}
}

func (i *interruption) arm() {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.armed = true
}

// stopped opens the repository in a process that is stopped once, after arm was
// called.
func stopped(t *testing.T, m *store.Mem, when step, fn func()) (r *repo.Repo, arm func()) {
	t.Helper()
	var done atomic.Bool
	i := &interruption{when: when, fn: func() { done.Store(true); fn() }}
	st, err := m.Process(i.gate).Store()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if !done.Load() {
			t.Error("the process did not come to where it was to be stopped")
		}
	})
	return reopen(t, st), i.arm
}

// collectStopped collects in a process that is stopped once, after its plan was made
// and planned has returned.
func collectStopped(t *testing.T, m *store.Mem, planned func(), when step, fn func()) (*repo.GCResult, error) {
	t.Helper()
	r, arm := stopped(t, m, when, fn)
	o := everything
	o.Planned = func(*repo.GCPlan) {
		if planned != nil {
			planned()
		}
		arm()
	}
	return r.GC(t.Context(), o)
}

func mustCollectStopped(t *testing.T, m *store.Mem, planned func(), when step, fn func()) *repo.GCResult {
	t.Helper()
	result, err := collectStopped(t, m, planned, when, fn)
	if err != nil {
		t.Fatalf("gc: %v", err)
	}
	return result
}

// tinyWorld is a repository with a chunk in each pack, on a disk that several
// processes use.
func tinyWorld(t *testing.T) (*store.Mem, *store.Dir, *repo.Repo) {
	t.Helper()
	t.Cleanup(repo.TinyPacks())
	m := store.NewMem()
	st := memStore(t, m)
	initRepo(t, st)
	return m, st, reopen(t, st)
}

// thePacks are the objects of all packs.
func thePacks(t *testing.T, st *store.Dir) []string {
	t.Helper()
	return slices.DeleteFunc(objects(t, st), func(name string) bool { return !strings.HasPrefix(name, "packs/") })
}

func mustCondemn(t *testing.T, r *repo.Repo, objects ...string) {
	t.Helper()
	if err := repo.Condemn(t.Context(), r, objects...); err != nil {
		t.Fatal(err)
	}
}

func mustBreak(t *testing.T, r *repo.Repo, session string) {
	t.Helper()
	if err := r.BreakSession(t.Context(), session); err != nil {
		t.Fatal(err)
	}
}

func isThere(t *testing.T, st *store.Dir, object string) bool {
	t.Helper()
	return slices.Contains(objects(t, st), object)
}

// small and other are what the snapshots hold.
var (
	small = filing{"f": random(1, 5000)}
	other = filing{"g": random(2, 5000)}
)

// mustLast demands that a snapshot is whole, and stays so when all garbage is
// collected.
func mustLast(t *testing.T, st *store.Dir, f filing, s *repo.Snapshot) {
	t.Helper()
	r := reopen(t, st)
	f.mustRead(t, st, s)
	mustCollect(t, r, everything)
	mustCollect(t, r, everything)
	f.mustRead(t, st, s)
	mustVerify(t, r)
	checkExplained(t, st)
}

// Sessions.

func TestSessionLoadsTheHeadOnceItsLeaseExists(t *testing.T) {
	m, st, r := tinyWorld(t)
	old := small.ingest(t, r, "tree/a")
	// It has loaded the head, and does not know yet which epoch it will state.
	slow, arm := stopped(t, m, upon("list", "snapshots"), func() {
		mustForget(t, r, old)
		mustCondemn(t, r, thePacks(t, st)...)
	})
	arm()
	s := small.session(t, slow, "tree/b")
	defer s.Abort(t.Context())
	mustCollect(t, r, everything)
	mustLast(t, st, small, mustCommit(t, s))
}

func TestSessionsLeaseNamesItsBase(t *testing.T) {
	_, st, r := tinyWorld(t)
	base := small.ingest(t, r, "tree/a")
	s, err := reopen(t, st).NewSession(t.Context(), repo.SessionOptions{Source: "tree/b", Kind: "tree", Base: base})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Abort(t.Context())
	mustForget(t, r, base)
	mustCollect(t, r, everything)
	if !isThere(t, st, "snapshots/"+base.ID) {
		t.Error("the base is gone while the session is at work")
	}
	small.mustRead(t, st, base)
}

func TestSessionStoresAgainWhatIsCondemned(t *testing.T) {
	_, st, r := tinyWorld(t)
	mustForget(t, r, small.ingest(t, r, "tree/a"))
	mustCondemn(t, r, thePacks(t, st)...)
	s := small.session(t, reopen(t, st), "tree/b")
	defer s.Abort(t.Context())
	mustCollect(t, r, everything)
	mustLast(t, st, small, mustCommit(t, s))
}

func TestNoCommitOfWhatWasCondemnedBefore(t *testing.T) {
	_, st, r := tinyWorld(t)
	old := small.ingest(t, r, "tree/a")
	mustForget(t, r, old)
	mustCondemn(t, r, thePacks(t, st)...)
	s, err := reopen(t, st).NewSession(t.Context(), repo.SessionOptions{Source: "tree/b", Kind: "tree"})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Abort(t.Context())
	if err := s.AddItem(*old.Item("f")); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Commit(t.Context(), repo.Info{}); err == nil {
		t.Error("a snapshot names what a collector may remove at any moment")
	}
}

// sessionWithBase opens a session that cannot rely on its base.
func sessionWithBase(t *testing.T, r *repo.Repo, base *repo.Snapshot) {
	t.Helper()
	s, err := r.NewSession(t.Context(), repo.SessionOptions{Source: "tree/b", Kind: "tree", Base: base})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Abort(t.Context())
	if _, err := s.OpenBase(t.Context(), "f"); !errors.Is(err, repo.ErrBaseGone) {
		t.Errorf("the base was forgotten before the session began: %v", err)
	}
}

func TestForgottenBase(t *testing.T) {
	_, _, r := tinyWorld(t)
	base := small.ingest(t, r, "tree/a")
	mustForget(t, r, base)
	sessionWithBase(t, r, base)
}

func TestBaseThatWasCollectedBeforeTheLease(t *testing.T) {
	m, st, r := tinyWorld(t)
	base := small.ingest(t, r, "tree/a")
	slow, arm := stopped(t, m, upon("link", "sessions/"), func() {
		mustForget(t, r, base)
		mustCollect(t, r, everything)
		if isThere(t, st, "snapshots/"+base.ID) || isThere(t, st, "forgotten/"+base.ID) {
			t.Error("the base is still there")
		}
	})
	mustSnapshots(t, slow) // it remembers the manifest
	arm()
	sessionWithBase(t, slow, base)
}

func TestNoPublishWithABrokenLease(t *testing.T) {
	_, st, r := tinyWorld(t)
	s := small.session(t, reopen(t, st), "tree/a")
	defer s.Abort(t.Context())
	if err := repo.WriteOut(t.Context(), s); err != nil {
		t.Fatal(err)
	}
	mustBreak(t, r, s.ID())
	mustCollect(t, r, everything)
	if left := thePacks(t, st); len(left) > 0 {
		t.Errorf("%q are left", left)
	}
	if _, err := s.Commit(t.Context(), repo.Info{}); !errors.Is(err, repo.ErrLeaseBroken) {
		t.Errorf("commit: %v", err)
	}
	mustVerify(t, r)
}

// A session has just seen that its lease is held, and is about to publish. What it
// wrote is deleted meanwhile.
func TestLeaseIsBrokenBeforeAPublish(t *testing.T) {
	m, st, r := tinyWorld(t)
	var s *repo.Session
	slow, arm := stopped(t, m, inTurn(upon("stat", "sessions/"), anyStep), func() {
		mustBreak(t, r, s.ID())
		mustCollect(t, r, everything)
		if left := thePacks(t, st); len(left) > 0 {
			t.Errorf("%q are left", left)
		}
	})
	s = small.session(t, slow, "tree/a")
	defer s.Abort(t.Context())
	if err := repo.WriteOut(t.Context(), s); err != nil {
		t.Fatal(err)
	}
	arm()
	if _, err := s.Commit(t.Context(), repo.Info{}); !errors.Is(err, repo.ErrLeaseBroken) {
		t.Errorf("commit: %v", err)
	}
	mustVerify(t, r)
}

// Others publish so often before a publish is made that its number is free again.
func TestOthersPublishFirst(t *testing.T) {
	for _, often := range []int{1, 5} {
		t.Run(fmt.Sprint(often), func(t *testing.T) {
			m, st, r := tinyWorld(t)
			slow, arm := stopped(t, m, upon("link", "head/"), func() {
				for i := range often {
					filing{"g": random(uint64(10+i), 5000)}.ingest(t, r, fmt.Sprint("tree/", i))
				}
			})
			s := small.session(t, slow, "tree/a")
			defer s.Abort(t.Context())
			arm()
			mustLast(t, st, small, mustCommit(t, s))
		})
	}
}

func TestCommittedPacksAreListed(t *testing.T) {
	_, st, r := tinyWorld(t)
	mustLast(t, st, small, small.ingest(t, r, "tree/a"))
}

func TestLeaseIsBrokenBeforeTheCommit(t *testing.T) {
	m, st, r := tinyWorld(t)
	var s *repo.Session
	commits := func(op, object string) bool {
		return upon("rename", "sessions/")(op, object) || upon("link", "snapshots/")(op, object)
	}
	slow, arm := stopped(t, m, commits, func() { mustBreak(t, r, s.ID()) })
	s = small.session(t, slow, "tree/a")
	defer s.Abort(t.Context())
	arm()
	if _, err := s.Commit(t.Context(), repo.Info{}); !errors.Is(err, repo.ErrLeaseBroken) {
		t.Errorf("commit: %v", err)
	}
	if isThere(t, st, "snapshots/"+s.ID()) {
		t.Error("the snapshot is there")
	}
}

// Readers, and those who forget.

// A collector that has not seen the reader's lease removes the manifest and the mark
// while the reader looks for them.
func TestPinOfWhatIsJustRemoved(t *testing.T) {
	m, st, r := tinyWorld(t)
	old := small.ingest(t, r, "tree/a")
	mustForget(t, r, old)
	there, goOn, done := make(chan bool), make(chan bool), make(chan error, 1)
	slow, arm := stopped(t, m, upon("unlink", "snapshots/"), func() { close(there); <-goOn })
	arm()
	go func() {
		_, err := slow.GC(t.Context(), everything)
		done <- err
	}()
	<-there
	finish := sync.OnceFunc(func() {
		close(goOn)
		if err := <-done; err != nil {
			t.Errorf("gc: %v", err)
		}
	})
	look := upon("stat", "forgotten/", "snapshots/")
	i := &interruption{armed: true, when: inTurn(look, look), fn: finish}
	readers, err := m.Process(i.gate).Store()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := reopen(t, readers).Pin(t.Context(), "mount /mnt", old); !errors.Is(err, repo.ErrNotFound) {
		t.Errorf("pinning what is just removed: %v", err)
	}
	finish()
	if isThere(t, st, "snapshots/"+old.ID) || isThere(t, st, "forgotten/"+old.ID) {
		t.Error("the snapshot was not removed")
	}
}

func TestPinOfWhatWasRemovedBeforeTheLease(t *testing.T) {
	m, _, r := tinyWorld(t)
	old := small.ingest(t, r, "tree/a")
	slow, arm := stopped(t, m, upon("link", "sessions/"), func() {
		mustForget(t, r, old)
		mustCollect(t, r, everything)
	})
	arm()
	if _, err := slow.Pin(t.Context(), "mount /mnt", old); !errors.Is(err, repo.ErrNotFound) {
		t.Errorf("pinning what was removed: %v", err)
	}
}

func TestReadWhatWasCopiedSince(t *testing.T) {
	m := store.NewMem()
	st := memStore(t, m)
	initRepo(t, st)
	r := reopen(t, st)
	both := filing{"f": small["f"], "g": other["g"]}
	old := both.ingest(t, r, "tree/a")
	kept := other.ingest(t, r, "tree/a")
	// The file is open, and none of it was read.
	file, err := reopen(t, memStore(t, m)).OpenFile(t.Context(), *kept.Item("g"))
	if err != nil {
		t.Fatal(err)
	}
	mustForget(t, r, old)
	if result := mustCollect(t, r, everything); result.Packs == 0 || result.Plan.Rewrite.Packs == 0 {
		t.Errorf("it did %+v, with the plan %+v", *result, *result.Plan)
	}
	got := make([]byte, len(other["g"]))
	if _, err := file.ReadAt(got, 0); err != nil || !bytes.Equal(got, other["g"]) {
		t.Errorf("reading with an old index: %v", err)
	}
	mustLast(t, st, other, kept)
}

func TestListingOfWhatIsJustRemoved(t *testing.T) {
	m, st, r := tinyWorld(t)
	old := small.ingest(t, r, "tree/a")
	list := upon("list", "forgotten", "snapshots")
	slow, arm := stopped(t, m, inTurn(list, func(op, object string) bool { return list(op, object) }), func() {
		mustCollect(t, r, everything)
		if isThere(t, st, "snapshots/"+old.ID) || isThere(t, st, "forgotten/"+old.ID) {
			t.Error("the snapshot was not removed")
		}
	})
	mustSnapshots(t, slow) // it remembers the manifest
	mustForget(t, r, old)
	arm()
	if all := mustSnapshots(t, slow); len(all) > 0 {
		t.Error("a forgotten snapshot is listed")
	}
}

// Collectors.

func TestDeadSessionsAreClearedAway(t *testing.T) {
	m, st, r := tinyWorld(t)
	p := m.Process(func(string, string) func() { return func() {} })
	dies, err := p.Store()
	if err != nil {
		t.Fatal(err)
	}
	s := small.session(t, reopen(t, dies), "tree/a")
	if err := repo.WriteOut(t.Context(), s); err != nil {
		t.Fatal(err)
	}
	p.Kill()
	mustCollect(t, r, everything)
	if left := thePacks(t, st); len(left) > 0 {
		t.Errorf("%q are left", left)
	}
	checkExplained(t, st)
}

func TestCollectorWithABrokenLeaseRemovesNothing(t *testing.T) {
	m, st, r := tinyWorld(t)
	mustForget(t, r, small.ingest(t, r, "tree/a"))
	var before []string
	_, err := collectStopped(t, m, nil, whenRemoving(upon("list", "snapshots")), func() {
		for _, s := range mustSessions(t, r) {
			mustBreak(t, r, s.ID)
		}
		before = objects(t, st)
	})
	if !errors.Is(err, repo.ErrLeaseBroken) {
		t.Errorf("gc: %v", err)
	}
	if after := objects(t, st); !slices.Equal(before, after) {
		t.Errorf("before it was broken there were %q, then %q", before, after)
	}
}

// A session that began after a pack was condemned does not hold it up.
func TestLaterSessionsHoldNothingUp(t *testing.T) {
	m, st, r := tinyWorld(t)
	mustForget(t, r, small.ingest(t, r, "tree/a"))
	first := filing{}.session(t, reopen(t, st), "tree/b")
	defer first.Abort(t.Context())
	var second *repo.Session
	result := mustCollectStopped(t, m, nil, whenRemoving(upon("list", "packs")), func() {
		second = filing{}.session(t, reopen(t, st), "tree/c")
	})
	if len(result.Waiting) != 1 || result.Packs != 0 {
		t.Errorf("it did %+v", *result)
	}
	defer second.Abort(t.Context())
	if err := first.Abort(t.Context()); err != nil {
		t.Fatal(err)
	}
	if result := mustCollect(t, r, everything); len(result.Waiting) != 0 || result.Packs == 0 {
		t.Errorf("it did %+v", *result)
	}
}

// afterLeases is when a collector has listed the leases and goes on to list something
// else.
func afterLeases() step {
	return whenRemoving(upon("list", "sessions"), upon("list", "packs", "forgotten", "snapshots"))
}

func TestFilesAreListedBeforeLeases(t *testing.T) {
	m, st, r := tinyWorld(t)
	other.ingest(t, r, "tree/b")
	var s *repo.Session
	mustCollectStopped(t, m, nil, afterLeases(), func() {
		s = small.session(t, reopen(t, st), "tree/a")
		if err := repo.WriteOut(t.Context(), s); err != nil {
			t.Error(err)
		}
	})
	defer s.Abort(t.Context())
	mustLast(t, st, small, mustCommit(t, s))
}

func TestMarksAreListedBeforeLeases(t *testing.T) {
	m, st, r := tinyWorld(t)
	old := small.ingest(t, r, "tree/a")
	var pin *repo.Pin
	mustCollectStopped(t, m, nil, afterLeases(), func() {
		var err error
		if pin, err = reopen(t, st).Pin(t.Context(), "mount /mnt", old); err != nil {
			t.Error(err)
		}
		mustForget(t, r, old)
	})
	defer pin.Release(t.Context())
	if !isThere(t, st, "snapshots/"+old.ID) {
		t.Error("what a reader has pinned is gone")
	}
	small.mustRead(t, st, old)
}

// relying is a session which relies on packs that nobody else needs, and that are
// not condemned yet.
func relying(t *testing.T, st *store.Dir, r *repo.Repo) *repo.Session {
	t.Helper()
	old := small.ingest(t, r, "tree/a")
	s := small.session(t, reopen(t, st), "tree/b")
	t.Cleanup(func() { s.Abort(t.Context()) })
	mustForget(t, r, old)
	return s
}

func TestManifestsAreListedAfterLeases(t *testing.T) {
	m, st, r := tinyWorld(t)
	s := relying(t, st, r)
	var snap *repo.Snapshot
	mustCollectStopped(t, m, nil, whenRemoving(upon("list", "sessions"), upon("list", "snapshots"), upon("list", "sessions", "head")), func() {
		snap = mustCommit(t, s)
	})
	mustLast(t, st, small, snap)
}

func TestHeadIsReadFirst(t *testing.T) {
	m, st, r := tinyWorld(t)
	mustForget(t, r, small.ingest(t, r, "tree/a"))
	var s *repo.Session
	full := repo.FewCondemned(0) // it has no room to condemn anything itself
	defer full()
	mustCollectStopped(t, m, nil, whenRemoving(upon("list", "sessions"), upon("list", "snapshots")), func() {
		s = small.session(t, reopen(t, st), "tree/b")
		mustCondemn(t, r, thePacks(t, st)...)
	})
	defer s.Abort(t.Context())
	full()
	mustLast(t, st, small, mustCommit(t, s))
}

// A lease that takes the place of another one while leases are listed is seen,
// whether a listing finds what comes meanwhile or not.
func TestLeasesAreListedUntilNothingIsNew(t *testing.T) {
	m, st, r := tinyWorld(t)
	for i := range 8 {
		old, more := small.ingest(t, r, "tree/a"), other.ingest(t, r, "tree/b")
		reader := reopen(t, st)
		pin, err := reader.Pin(t.Context(), "mount /mnt", old)
		if err != nil {
			t.Fatal(err)
		}
		mustForget(t, r, old)
		mustCollectStopped(t, m, nil, whenRemoving(upon("list", "sessions"), upon("list next", "sessions")), func() {
			for range i % 2 { // whether it finds what comes depends on the number of files that there were
				if err := st.Put(t.Context(), fmt.Sprint("ledger/", i), nil); err != nil {
					t.Error(err)
				}
				if err := st.Delete(t.Context(), fmt.Sprint("ledger/", i)); err != nil {
					t.Error(err)
				}
			}
			if err := pin.Add(t.Context(), more); err != nil {
				t.Error(err)
			}
		})
		if !isThere(t, st, "snapshots/"+old.ID) {
			t.Error("what a reader has pinned is gone")
		}
		if err := pin.Release(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
}

// What was committed since the plan counts.
func TestCommitBetweenPlanAndRemoval(t *testing.T) {
	m, st, r := tinyWorld(t)
	s := relying(t, st, r)
	var snap *repo.Snapshot
	mustCollectStopped(t, m, nil, whenRemoving(upon("list", "packs")), func() { snap = mustCommit(t, s) })
	mustLast(t, st, small, snap)
}

// The lease of a session that is just being committed cannot be read.
func TestLeaseThatCannotBeReadBlocks(t *testing.T) {
	defer repo.Impatient()()
	m, st, r := tinyWorld(t)
	gone := small.session(t, r, "tree/a") // what it leaves no snapshot ever needed
	if err := gone.Abort(t.Context()); err != nil {
		t.Fatal(err)
	}
	slow, arm := stopped(t, m, upon("rename", "sessions/"), func() {
		if result := mustCollect(t, reopen(t, st), everything); result.Packs > 0 {
			t.Errorf("it did %+v", *result)
		}
	})
	s := small.session(t, slow, "tree/b")
	defer s.Abort(t.Context())
	arm()
	mustLast(t, st, small, mustCommit(t, s))
}

// twice stores a snapshot's chunks in two packs each, and commits two snapshots.
func twice(t *testing.T, st *store.Dir, r *repo.Repo) (a, b *repo.Snapshot) {
	t.Helper()
	one, two := small.session(t, r, "tree/a"), small.session(t, reopen(t, st), "tree/b")
	return mustCommit(t, one), mustCommit(t, two)
}

// Both places of a chunk are condemned, by collectors that did not know of each
// other.
func TestOneOfTwoPlacesStays(t *testing.T) {
	m, st, r := tinyWorld(t)
	a, b := twice(t, st, r)
	mustCollectStopped(t, m, func() { mustCondemn(t, r, thePacks(t, st)...) }, whenRemoving(upon("list", "packs")), func() {})
	small.mustRead(t, st, a)
	mustLast(t, st, small, b)
}

// While one collector decides which of two places goes, another one, whose lease was
// broken when it was about to publish, gives up the other place.
func TestRemovalBeginsAgain(t *testing.T) {
	m, st, r := tinyWorld(t)
	a, b := twice(t, st, r)
	decided := whenRemoving(upon("list", "sessions"), upon("list", "snapshots"), upon("list", "head"), upon("list", "head"))
	mustCollectStopped(t, m, func() { mustCondemn(t, r, thePacks(t, st)...) }, decided, func() {
		if err := repo.DropFirst(t.Context(), r); err != nil {
			t.Error(err)
		}
	})
	small.mustRead(t, st, a)
	mustLast(t, st, small, b)
}

func TestFilesOfSessionsAtWorkStay(t *testing.T) {
	_, st, r := tinyWorld(t)
	s := small.session(t, reopen(t, st), "tree/a")
	defer s.Abort(t.Context())
	if err := repo.WriteOut(t.Context(), s); err != nil {
		t.Fatal(err)
	}
	mustCollect(t, r, everything)
	mustLast(t, st, small, mustCommit(t, s))
}

// A session has stored a run, and is about to publish it.
func TestRunsOfSessionsAtWorkStay(t *testing.T) {
	m, st, r := tinyWorld(t)
	slow, arm := stopped(t, m, upon("link", "head/"), func() { mustCollect(t, r, everything) })
	s := small.session(t, slow, "tree/a")
	defer s.Abort(t.Context())
	arm()
	mustLast(t, st, small, mustCommit(t, s))
}

// A session whose lease is broken when it is about to publish does so when a
// collector has seen its packs, which nothing lists, and has not published yet.
func TestPacksThatAreListedAfterAll(t *testing.T) {
	m, st, r := tinyWorld(t)
	there, goOn, done := make(chan bool), make(chan bool), make(chan error, 1)
	slow, arm := stopped(t, m, upon("link", "head/"), func() { close(there); <-goOn })
	s := small.session(t, slow, "tree/a")
	if err := repo.WriteOut(t.Context(), s); err != nil {
		t.Fatal(err)
	}
	arm()
	go func() {
		_, err := s.Commit(t.Context(), repo.Info{})
		done <- err
	}()
	<-there
	mustBreak(t, r, s.ID())
	decided := whenRemoving(upon("list", "sessions"), upon("list", "snapshots"), upon("list", "head"), upon("list", "head"))
	mustCollectStopped(t, m, nil, decided, func() {
		close(goOn)
		if err := <-done; !errors.Is(err, repo.ErrLeaseBroken) {
			t.Errorf("commit: %v", err)
		}
		s.Abort(t.Context())
	})
	if len(thePacks(t, st)) == 0 {
		t.Error("packs are gone which the head lists")
	}
	mustVerify(t, r)
	mustCollect(t, r, everything)
	if left := thePacks(t, st); len(left) > 0 {
		t.Errorf("%q are left", left)
	}
}

func TestNoFileIsDeletedBeforeThePublish(t *testing.T) {
	m, st, r := tinyWorld(t)
	mustForget(t, r, small.ingest(t, r, "tree/a"))
	result := mustCollectStopped(t, m, nil, whenRemoving(upon("link", "head/")), func() {
		packs := thePacks(t, st)
		condemned := repo.Condemned(t.Context(), r)
		if len(condemned) == 0 {
			t.Error("nothing is condemned")
		}
		for _, name := range condemned {
			if !slices.Contains(packs, name) {
				t.Errorf("%s is gone, and listed", name)
			}
		}
	})
	if result.Packs == 0 || len(thePacks(t, st)) > 0 {
		t.Errorf("it did %+v", *result)
	}
}

func TestForgottenManifestsGoBeforeTheirMarks(t *testing.T) {
	m, st, r := tinyWorld(t)
	old := small.ingest(t, r, "tree/a")
	mustForget(t, r, old)
	mustCollectStopped(t, m, nil, upon("unlink", "snapshots/"), func() {
		if !isThere(t, st, "forgotten/"+old.ID) {
			t.Error("the mark is gone, and the snapshot is not")
		}
	})
	if isThere(t, st, "snapshots/"+old.ID) || isThere(t, st, "forgotten/"+old.ID) {
		t.Error("a forgotten snapshot is left")
	}
}

// What was removed does not come back when the power fails.
func TestWhatWasRemovedStaysRemoved(t *testing.T) {
	m, st, r := tinyWorld(t)
	old := small.ingest(t, r, "tree/a")
	snap := other.ingest(t, r, "tree/b")
	mustForget(t, r, old)
	mustCollect(t, r, everything)
	for seed := range uint64(16) {
		after := memStore(t, m.Crash(rand.New(rand.NewPCG(seed, 1))))
		if have, want := objects(t, after), objects(t, st); !slices.Equal(have, want) {
			t.Fatalf("before there were %q, then %q", want, have)
		}
		other.mustRead(t, after, snap)
	}
}
