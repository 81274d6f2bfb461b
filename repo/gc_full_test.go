package repo_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"vaultfs/repo"
	"vaultfs/repo/store"
)

// used is the size of all objects of a store.
func used(t testing.TB, st *store.Dir) int64 { return sizeOf(t, st, "") }

// A session leaves so much room that a collector can work. What it says tells the
// way out.
func TestSessionsLeaveRoomForACollector(t *testing.T) {
	m := store.NewMem()
	st := memStore(t, m)
	initRepo(t, st)
	r := reopen(t, st)
	defer r.Close()
	kept := filing{"f": random(1, 50_000)}
	snap := kept.ingest(t, r, "tree/a")
	old := filing{"g": random(2, 50_000)}.ingest(t, r, "tree/b")
	const disk = 1 << 20
	m.Limit(disk)
	var full error
	for i := 0; full == nil && i < 100; i++ {
		s := filing{"h": random(uint64(10+i), 60_000)}.session(t, r, fmt.Sprintf("tree/c%d", i))
		_, full = s.Commit(t.Context(), repo.Info{})
		if err := s.Abort(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if !errors.Is(full, repo.ErrNoSpace) || !strings.Contains(full.Error(), "vaultfs gc") {
		t.Fatalf("the full disk: %v", full)
	}
	free, _, err := st.Free(t.Context())
	if err != nil || free < disk/64 {
		t.Fatalf("%d bytes are free (%v)", free, err)
	}
	mustForget(t, r, old)
	if result := mustCollect(t, r, repo.GCOptions{MaxUnused: repo.DefaultMaxUnused, MaxRewrite: -1}); result.Deleted < 50_000 {
		t.Errorf("it did %+v", *result)
	}
	kept.mustRead(t, st, snap)
	mustVerify(t, r)
}

// A collector gets along where there is room for its lease alone: the head before
// the one in force makes room for the next.
func TestCollectWithRoomForALease(t *testing.T) {
	defer repo.SmallPacks()()
	m := store.NewMem()
	st := memStore(t, m)
	initRepo(t, st)
	r := reopen(t, st)
	defer r.Close()
	for i := range 12 { // each adds a run, so that a head is larger than a lease
		filing{"k": random(uint64(i), 3000)}.ingest(t, r, "tree/kept")
	}
	kept := filing{"f": random(1, 50_000)}
	snap := kept.ingest(t, r, "tree/a")
	mustForget(t, r, filing{"g": random(2, 50_000)}.ingest(t, r, "tree/b"))
	head := sizeOf(t, st, "head") / 2
	lease := leaseSize(t, r, st)
	if head < lease+200 {
		t.Fatalf("a head has %d bytes, a lease %d", head, lease)
	}
	m.Limit(used(t, st) + lease + 250)
	if result := mustCollect(t, r, repo.GCOptions{MaxUnused: 1, MaxRewrite: 0}); result.Deleted < 50_000 {
		t.Errorf("it did %+v", *result)
	}
	kept.mustRead(t, st, snap)
	m.Limit(0)
	mustVerify(t, r)
}

// leaseSize is the size of a lease.
func leaseSize(t *testing.T, r *repo.Repo, st *store.Dir) int64 {
	t.Helper()
	p, err := r.Pin(t.Context(), "test", mustSnapshots(t, r)[0])
	if err != nil {
		t.Fatal(err)
	}
	defer p.Release(t.Context())
	leases, err := st.Leases(t.Context())
	if err != nil || len(leases) != 1 {
		t.Fatalf("%d leases, %v", len(leases), err)
	}
	return int64(len(leases[0].Content))
}

// In a full repository what is wholly unused goes first, so that there is room
// for copies.
func TestCollectInAFullRepository(t *testing.T) {
	defer repo.SmallPacks()()
	m := store.NewMem()
	st := memStore(t, m)
	initRepo(t, st)
	r := reopen(t, st)
	defer r.Close()
	f := filing{"f": random(1, 20_000), "g": random(2, 20_000)}
	part := f.ingest(t, r, "tree/a")
	delete(f, "g")
	snap := f.ingest(t, r, "tree/a")
	whole := filing{"h": random(3, 60_000)}.ingest(t, r, "tree/b")
	mustForget(t, r, part, whole)
	m.Limit(used(t, st) + 15_000)
	result := mustCollect(t, r, everything)
	if result.Unfinished != "" || result.Plan.Rewrite.Packs == 0 || result.Written < 20_000 {
		t.Errorf("it did %+v", *result)
	}
	f.mustRead(t, st, snap)
	if have := sizeOf(t, st, "packs"); have > 25_000 {
		t.Errorf("%d bytes are left", have)
	}
	mustVerify(t, r)
}

// Where there is no room for a copy, copying ends and the collection goes on.
func TestCollectWithoutRoomForCopies(t *testing.T) {
	defer repo.SmallPacks()()
	m := store.NewMem()
	st := memStore(t, m)
	initRepo(t, st)
	r := reopen(t, st)
	defer r.Close()
	f := filing{"f": random(1, 40_000), "g": random(2, 20_000)}
	part := f.ingest(t, r, "tree/a")
	delete(f, "g")
	snap := f.ingest(t, r, "tree/a")
	whole := filing{"h": random(3, 5000)}.ingest(t, r, "tree/b")
	mustForget(t, r, part, whole)
	m.Limit(used(t, st) + 20_000)
	result := mustCollect(t, r, everything)
	if !strings.Contains(result.Unfinished, "no room") || result.Packs < 2 || result.Freed < 5000 {
		t.Errorf("it did %+v", *result)
	}
	f.mustRead(t, st, snap)
	mustVerify(t, r)
	checkExplained(t, st)
	m.Limit(0)
	if result := mustCollect(t, r, everything); result.Unfinished != "" || result.Freed < 15_000 {
		t.Errorf("it did %+v", *result)
	}
	f.mustRead(t, st, snap)
}

// In a full repository in which no pack is wholly unused, what was copied makes
// room for more copies.
func TestCollectAFullRepositoryBitByBit(t *testing.T) {
	defer repo.SmallPacks()()
	m := store.NewMem()
	st := memStore(t, m)
	initRepo(t, st)
	r := reopen(t, st)
	defer r.Close()
	// So small that each pack holds many, of which about every second one stays.
	f := filing{}
	for i := range 400 {
		f[fmt.Sprintf("f%03d", i)] = random(uint64(i), 3000)
	}
	all := f.ingest(t, r, "tree/a")
	for i := range 200 {
		delete(f, fmt.Sprintf("f%03d", 2*i))
	}
	snap := f.ingest(t, r, "tree/a")
	mustForget(t, r, all)
	m.Limit(used(t, st) * 16 / 15)                               // what sessions may use is used up
	s := filing{"g": random(99, 20_000)}.session(t, r, "tree/b") // less than a piece of a pack
	if _, err := s.Commit(t.Context(), repo.Info{}); !errors.Is(err, repo.ErrNoSpace) {
		t.Fatalf("the disk is not full: %v", err)
	}
	if err := s.Abort(t.Context()); err != nil {
		t.Fatal(err)
	}
	result := mustCollect(t, r, everything)
	if result.Unfinished != "" || result.Freed < 400_000 {
		t.Errorf("it did %+v, plan %+v", *result, *result.Plan)
	}
	if have := sizeOf(t, st, "packs"); have > 200*3000*5/4 {
		t.Errorf("%d bytes are left", have)
	}
	f.mustRead(t, st, snap)
	mustVerify(t, r)
	checkExplained(t, st)
}
