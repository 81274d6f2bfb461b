package repo_test

import (
	"testing"

	"vaultfs/repo"
	"vaultfs/repo/store"
)

// A pack that outlives the snapshot that it was written for was read all the
// same.
func TestPacksOutliveTheirSnapshotAsRead(t *testing.T) {
	defer repo.SmallPacks()()
	st := memStore(t, store.NewMem())
	initRepo(t, st)
	r := reopen(t, st)
	defer r.Close()
	b := newBackup("vm/a", 1)
	first := mustIngest(t, r, b)
	mustIngest(t, r, b.changed(50))
	if err := r.Forget(t.Context(), repo.ForgotByName, first); err != nil {
		t.Fatal(err)
	}
	if res, err := r.GC(t.Context(), repo.GCOptions{MaxUnused: 1, MaxRewrite: 0}); err != nil || res.Manifests != 1 {
		t.Fatalf("%+v, %v", res, err)
	}
	got, err := r.Status(t.Context(), repo.StatusOptions{NoSums: true})
	if err != nil {
		t.Fatal(err)
	}
	if got.Packs.Packs == 0 || got.Reading.Never.Packs > 0 {
		t.Errorf("of %d packs %d are said never to have been read", got.Packs.Packs, got.Reading.Never.Packs)
	}
}
