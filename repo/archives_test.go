package repo_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"vaultfs/repo"
)

// ingestArchive makes a snapshot of what an archive held.
func ingestArchive(t *testing.T, r *repo.Repo, source, archive string) *repo.Snapshot {
	t.Helper()
	s, err := r.NewSession(t.Context(), repo.SessionOptions{Source: source, Kind: "vzdump", Verify: true})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Abort(context.Background())
	root, size, err := s.PutStream(t.Context(), strings.NewReader(archive))
	if err != nil {
		t.Fatal(err)
	}
	if err := s.AddItem(repo.Item{Name: "archive.json", Kind: repo.ItemFile, Size: size, Root: root, Checkpoint: archive}); err != nil {
		t.Fatal(err)
	}
	snap, err := s.Commit(t.Context(), repo.Info{Program: "test", Method: "archive"})
	if err != nil {
		t.Fatal(err)
	}
	return snap
}

// What archives were forgotten outlives their collection, when no snapshot names
// theirs as the one before it, but not a year and a day.
func TestForgottenArchivesAreRemembered(t *testing.T) {
	st := newStore(t)
	r := newRepo(t, st)
	first, second := ingestArchive(t, r, "vzdump/1", "one"), ingestArchive(t, r, "vzdump/1", "two")
	other, long := ingestTagged(t, r, "vm/a"), ingestArchive(t, r, "vzdump/1", strings.Repeat("long", 2000))
	before := time.Now().Add(-time.Second)
	if err := r.Forget(t.Context(), repo.ForgotByName, first, second, other, long); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		list, err := r.ForgottenArchives(t.Context())
		got := map[string]string{}
		for _, f := range list {
			got[f.Archive] = f.Snapshot
			if f.Source != "vzdump/1" || f.Time.Before(before.Truncate(time.Second)) || f.Time.After(time.Now()) {
				t.Errorf("%+v", f)
			}
		}
		if err != nil || len(list) != 2 || got["one"] != first.ID || got["two"] != second.ID {
			t.Fatalf("%v, %v", list, err)
		}
		mustCollect(t, r, repo.GCOptions{})
	}
	if sizeOf(t, st, "forgotten") == 0 || sizeOf(t, st, "snapshots") != 0 {
		t.Error("the marks are gone, or the manifests are not")
	}
	later := time.Now().Add(367 * 24 * time.Hour)
	t.Cleanup(repo.SetClock(func() time.Time { return later }))
	mustCollect(t, r, repo.GCOptions{})
	if n := sizeOf(t, st, "forgotten"); n != 0 {
		t.Errorf("%d bytes of marks stay after a year", n)
	}
}
