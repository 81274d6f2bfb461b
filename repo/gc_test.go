package repo_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"testing"

	"vaultfs/repo"
	"vaultfs/repo/store"
)

// everything lets a collector rewrite every pack of which anything is unused.
var everything = repo.GCOptions{MaxUnused: 0, MaxRewrite: -1}

func mustCollect(t testing.TB, r *repo.Repo, o repo.GCOptions) *repo.GCResult {
	t.Helper()
	result, err := r.GC(t.Context(), o)
	if err != nil {
		t.Fatalf("gc: %v", err)
	}
	if len(result.Plan.Blocked) > 0 {
		t.Fatalf("gc was blocked: %v", result.Plan.Blocked)
	}
	return result
}

func mustForget(t testing.TB, r *repo.Repo, snapshots ...*repo.Snapshot) {
	t.Helper()
	if err := r.Forget(t.Context(), repo.ForgotByName, snapshots...); err != nil {
		t.Fatalf("forget: %v", err)
	}
}

// sizeOf is the sum of the sizes of all objects below a prefix.
func sizeOf(t testing.TB, st *store.Dir, prefix string) (n int64) {
	t.Helper()
	if err := st.List(context.Background(), prefix, func(i store.Info) error { n += i.Size; return nil }); err != nil {
		t.Fatal(err)
	}
	return n
}

// A filing is a snapshot of a few small files, by their names.
type filing map[string][]byte

// session opens a session of a source and stores the files. The caller aborts it.
func (f filing) session(t testing.TB, r *repo.Repo, source string) *repo.Session {
	t.Helper()
	s, err := r.NewSession(t.Context(), repo.SessionOptions{Source: source, Kind: "tree", Verify: true})
	if err != nil {
		t.Fatalf("session of %s: %v", source, err)
	}
	for _, name := range slices.Sorted(maps.Keys(f)) {
		if _, err := s.AddFile(t.Context(), name, bytes.NewReader(f[name])); err != nil {
			t.Fatal(err)
		}
	}
	return s
}

// ingest commits the files as a snapshot of a source.
func (f filing) ingest(t testing.TB, r *repo.Repo, source string) *repo.Snapshot {
	t.Helper()
	s := f.session(t, r, source)
	defer s.Abort(t.Context())
	return mustCommit(t, s)
}

func mustCommit(t testing.TB, s *repo.Session) *repo.Snapshot {
	t.Helper()
	snap, err := s.Commit(t.Context(), repo.Info{Program: "test"})
	if err != nil {
		t.Fatalf("commit: %v", err)
	}
	return snap
}

// mustRead demands that the files come back from a repository that was opened anew.
func (f filing) mustRead(t testing.TB, st *store.Dir, s *repo.Snapshot) {
	t.Helper()
	r := reopen(t, st)
	defer r.Close()
	if err := f.read(t, r, s); err != nil {
		t.Errorf("snapshot %s of %s: %v", s.Short(), s.Source, err)
	}
}

func (f filing) read(t testing.TB, r *repo.Repo, s *repo.Snapshot) error {
	t.Helper()
	for name, want := range f {
		file, err := r.OpenFile(t.Context(), *s.Item(name))
		if err != nil {
			return err
		}
		got, err := io.ReadAll(io.NewSectionReader(file, 0, file.Size()))
		if err != nil {
			return err
		}
		if !bytes.Equal(got, want) {
			t.Fatalf("%s comes back different", name)
		}
	}
	return nil
}

// freshSize is the size of the packs of a fresh repository with the same
// snapshots.
func freshSize(t *testing.T, of map[string]filing) int64 {
	t.Helper()
	st := newStore(t)
	r := newRepo(t, st)
	for _, source := range slices.Sorted(maps.Keys(of)) {
		of[source].ingest(t, r, source)
	}
	return sizeOf(t, st, "packs")
}

// What only forgotten snapshots need is gone after one command, all else reads,
// and the next one finds nothing to do.
func TestCollect(t *testing.T) {
	st := newStore(t)
	r := newRepo(t, st)
	first := newBackup("vm/a", 10)
	second := first.changed(20)
	other := newBackup("vm/b", 30)
	old, b := mustIngest(t, r, first), mustIngest(t, r, other)
	a := mustIngest(t, r, second)
	mustForget(t, r, old, b)
	before := sizeOf(t, st, "")
	result := mustCollect(t, r, everything)
	after := sizeOf(t, st, "")
	if freed := before - after; result.Freed < freed-4096 || result.Freed > freed+4096 || result.Manifests != 2 || result.Packs != 4 {
		t.Errorf("it freed %d bytes; it says %+v", freed, *result)
	}
	if plan := result.Plan; plan.FreedNow < result.Freed*9/10 || plan.FreedNow > result.Freed*11/10 || plan.Snapshots != 1 || plan.Forgotten != 2 {
		t.Errorf("it freed %d bytes; the plan said %+v", result.Freed, *plan)
	}
	second.mustRead(t, reopen(t, st), a)
	fresh := newStore(t)
	mustIngest(t, newRepo(t, fresh), second)
	for _, sort := range []string{"packs", "runs", "snapshots"} {
		if have, want := sizeOf(t, st, sort), sizeOf(t, fresh, sort); float64(have) > 1.05*float64(want)+2000 {
			t.Errorf("%s take %d bytes, in a fresh repository %d", sort, have, want)
		}
	}
	objectsAfter := objects(t, st)
	if again := mustCollect(t, r, everything); again.Deleted+again.Written != 0 || !slices.Equal(objects(t, st), objectsAfter) {
		t.Errorf("the second collection did %+v", *again)
	}
}

// A dry run tells the same and changes nothing.
func TestCollectDry(t *testing.T) {
	st := newStore(t)
	r := newRepo(t, st)
	mustForget(t, r, mustIngest(t, r, newBackup("vm/a", 10)))
	mustIngest(t, r, newBackup("vm/a", 10).changed(20))
	before := contents(t, st)
	dry := everything
	dry.DryRun = true
	var told *repo.GCPlan
	dry.Planned = func(p *repo.GCPlan) { told = p }
	result := mustCollect(t, r, dry)
	if !result.DryRun || told != result.Plan || result.Plan.Rewrite.Packs == 0 || result.Plan.FreedNow <= 0 {
		t.Errorf("the plan is %+v", *result.Plan)
	}
	if !maps.Equal(contents(t, st), before) {
		t.Error("the dry run changed something")
	}
	plan := mustCollect(t, r, everything).Plan
	told.Waiting, plan.Waiting = nil, nil
	if fmt.Sprint(*told) != fmt.Sprint(*plan) {
		t.Errorf("the dry run planned\n%+v, then it was\n%+v", *told, *plan)
	}
}

// contents are all objects of a store.
func contents(t testing.TB, st *store.Dir) map[string]string {
	t.Helper()
	all := map[string]string{}
	for _, name := range objects(t, st) {
		b, err := st.Get(t.Context(), name, 64<<20)
		if err != nil {
			t.Fatal(err)
		}
		all[name] = string(b)
	}
	return all
}

// Chunks that two sessions stored at the same time are stored once afterwards.
func TestCollectDuplicates(t *testing.T) {
	defer repo.TinyPacks()()
	st := newStore(t)
	r := newRepo(t, st)
	f := filing{"one": random(1, 5000), "two": random(2, 6000)}
	a, b := f.session(t, r, "tree/a"), f.session(t, reopen(t, st), "tree/b")
	defer a.Abort(t.Context())
	defer b.Abort(t.Context())
	snaps := []*repo.Snapshot{mustCommit(t, a), mustCommit(t, b)}
	before := sizeOf(t, st, "packs")
	result := mustCollect(t, r, everything)
	if have := sizeOf(t, st, "packs"); have != before/2 || result.Plan.CopyBytes != 0 {
		t.Errorf("of %d bytes %d are left, %d were copied", before, have, result.Plan.CopyBytes)
	}
	for _, s := range snaps {
		f.mustRead(t, st, s)
	}
}

// Many packs that are not full become one.
func TestCollectSmallPacks(t *testing.T) {
	st := newStore(t)
	r := newRepo(t, st)
	all := map[string]filing{}
	snaps := map[string]*repo.Snapshot{}
	for i := range 10 {
		source := fmt.Sprintf("tree/%d", i)
		all[source] = filing{"f": random(uint64(i), 3000)}
		snaps[source] = all[source].ingest(t, r, source)
	}
	mustCollect(t, r, repo.GCOptions{MaxUnused: repo.DefaultMaxUnused, MaxRewrite: -1})
	packs := 0
	for _, name := range objects(t, st) {
		if strings.HasPrefix(name, "packs/") {
			packs++
		}
	}
	if packs != 2 {
		t.Errorf("%d packs are left, want one of data and one of structure", packs)
	}
	for source, s := range snaps {
		all[source].mustRead(t, st, s)
	}
}

// MaxUnused and MaxRewrite leave packs alone, and the plan says so.
func TestCollectWithin(t *testing.T) {
	st := newStore(t)
	r := newRepo(t, st)
	f := filing{"big": random(1, 90_000), "small": random(2, 9000)}
	old := f.ingest(t, r, "tree/a")
	delete(f, "small")
	kept := f.ingest(t, r, "tree/a")
	mustForget(t, r, old)
	for name, o := range map[string]repo.GCOptions{
		"max unused":  {MaxUnused: 0.5, MaxRewrite: -1},
		"max rewrite": {MaxUnused: 0, MaxRewrite: 5000},
	} {
		plan := mustCollect(t, r, o).Plan
		if plan.Rewrite.Packs > 1 || plan.Kept.Packs == 0 || plan.KeptBytes < 9000 || plan.KeptBytes > 9500 {
			t.Errorf("%s: the plan is %+v", name, *plan)
		}
	}
	late := everything
	late.For = 1
	if result := mustCollect(t, r, late); !strings.Contains(result.Unfinished, "time was used up") {
		t.Errorf("it says %q", result.Unfinished)
	}
	result := mustCollect(t, r, everything)
	if result.Plan.Kept.Packs != 0 || result.Unfinished != "" {
		t.Errorf("it says %q, the plan is %+v", result.Unfinished, *result.Plan)
	}
	f.mustRead(t, st, kept)
	if have, want := sizeOf(t, st, "packs"), freshSize(t, map[string]filing{"tree/a": f}); float64(have) > 1.05*float64(want) {
		t.Errorf("the packs take %d bytes, in a fresh repository %d", have, want)
	}
}
