package repo_test

import (
	"testing"

	"vaultfs/repo"
)

// A pack that was condemned before, and that a session relied on, stays as long as
// the snapshot which that became cannot be read: it may need it.
func TestCollectWithACondemnedPackAndAManifestThatCannotBeRead(t *testing.T) {
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
		t.Fatalf("nothing is condemned and waits: %+v", *result)
	}
	snap := mustCommit(t, s)
	manifest := "snapshots/" + snap.ID
	good, err := st.Get(t.Context(), manifest, 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	replace(t, st, manifest, bitFlipped(t, st, manifest, 200))
	result, err := reopen(t, st).GC(t.Context(), everything)
	if err != nil {
		t.Fatal(err)
	}
	if len(result.Plan.Blocked) == 0 || result.Packs != 0 {
		t.Errorf("it did %+v", *result)
	}
	replace(t, st, manifest, good)
	f.mustRead(t, st, snap)
	mustCollect(t, r, everything)
	f.mustRead(t, st, snap)
}
