package repo_test

import (
	"context"
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

// What only forgotten snapshots need is gone after one command, all else reads.
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
	t.Logf("%+v\n%+v", *result, *result.Plan)
	after := sizeOf(t, st, "")
	t.Log(before, after, objects(t, st))
	second.mustRead(t, reopen(t, st), a)
	fresh := newStore(t)
	mustIngest(t, newRepo(t, fresh), second)
	if have, want := sizeOf(t, st, "packs"), sizeOf(t, fresh, "packs"); float64(have) > 1.05*float64(want) {
		t.Errorf("the packs take %d bytes, in a fresh repository %d", have, want)
	}
	again := mustCollect(t, r, everything)
	t.Logf("%+v\n%+v", *again, *again.Plan)
	t.Log(objects(t, st))
}
