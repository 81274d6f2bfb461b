package fusefs

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"vaultfs/repo"
)

// twoGenerations makes a snapshot of a disk, and an hour later one of half of it.
func twoGenerations(t *testing.T) (r *repo.Repo, first, second *fakeDisk) {
	r, _ = newRealRepository(t)
	first, second = newFakeDisk(32<<20, 12, 256), newFakeDisk(32<<20, 6, 256)
	commitReal(t, r, "vm/a", noon, first)
	commitReal(t, r, "vm/a", noon.Add(time.Hour), second)
	return r, first, second
}

// forgetFirst forgets the oldest snapshot, and collects.
func forgetFirst(t *testing.T, r *repo.Repo) {
	t.Helper()
	all, err := r.Snapshots(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := r.Forget(t.Context(), repo.ForgotByName, all[0]); err != nil {
		t.Fatal(err)
	}
}

func collect(t *testing.T, r *repo.Repo) *repo.GCResult {
	t.Helper()
	got, err := r.GC(t.Context(), repo.GCOptions{MaxRewrite: -1})
	if err != nil {
		t.Fatal(err)
	}
	if got.Plan.Lost > 0 || len(got.Plan.Blocked) > 0 {
		t.Fatalf("%+v", got.Plan)
	}
	return got
}

// TestReadWhileCollected reads a disk slowly through a mount. Meanwhile its packs are
// copied into others and removed: every byte is right, and nothing is reported.
func TestReadWhileCollected(t *testing.T) {
	t.Parallel()
	r, _, second := twoGenerations(t)
	dir, reported := mount(t, FromRepo(r), Options{})
	f, err := os.Open(filepath.Join(dir, "vm/a/2026-11-21T13-00-00Z/disks/vda.raw"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	want := second.bytes(t)
	got := make([]byte, len(want))
	const early = 1 << 20
	if _, err := io.ReadFull(f, got[:early]); err != nil {
		t.Fatal(err)
	}
	forgetFirst(t, r)
	if done := collect(t, r); done.Written == 0 || done.Packs == 0 || done.Freed < 2<<20 {
		t.Fatalf("the collection had nothing to copy: %+v of %+v", done, done.Plan)
	}
	for off := early; off < len(got); off += 1 << 20 {
		if _, err := f.ReadAt(got[off:off+1<<20], int64(off)); err != nil {
			t.Fatal(off, err)
		}
	}
	mustEqual(t, "what was read while it was moved", got, want)
	if reported.String() != "" {
		t.Errorf("reported %s", reported)
	}
}

// TestCollectWhileOpen has a forgotten snapshot stay as long as a file of it is open,
// and be collected soon after.
func TestCollectWhileOpen(t *testing.T) {
	t.Parallel()
	r, first, _ := twoGenerations(t)
	dir, reported := mount(t, FromRepo(r), Options{})
	in := filepath.Join(dir, "vm/a", stamp(noon))
	f, err := os.Open(filepath.Join(in, "disks/vda.raw"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	forgetFirst(t, r)
	done := collect(t, r)
	if done.Manifests > 0 || len(done.Waiting) != 1 || !strings.Contains(done.Waiting[0].Reason, "mount "+dir) {
		t.Fatalf("what is open was collected, or it does not say what is waiting: %+v", done)
	}
	eventually(t, "it is not listed any more", func() bool {
		_, err := os.Stat(in)
		return errors.Is(err, os.ErrNotExist)
	})
	got, err := io.ReadAll(f)
	if err != nil {
		t.Fatal(err)
	}
	mustEqual(t, "what was forgotten", got, first.bytes(t))
	f.Close()
	eventually(t, "it is collected", func() bool { return collect(t, r).Manifests == 1 })
	if sessions, err := r.Sessions(t.Context()); err != nil || len(sessions) != 0 {
		t.Errorf("%v, %v", sessions, err)
	}
	if reported.String() != "" {
		t.Errorf("reported %s", reported)
	}
}

// TestCollectedWhileListed collects a snapshot that a mount has only listed: whoever
// still tries to enter it finds nothing.
func TestCollectedWhileListed(t *testing.T) {
	t.Parallel()
	r, _, second := twoGenerations(t)
	dir, reported := mount(t, FromRepo(r), Options{})
	before, err := os.Stat(filepath.Join(dir, "vm/a", stamp(noon)))
	if err != nil {
		t.Fatal(err)
	}
	forgetFirst(t, r)
	collect(t, r)
	// The kernel knows the directory for another second.
	if _, err := os.ReadFile(filepath.Join(dir, "vm/a", before.Name(), "domain.xml")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a snapshot that was collected: %v", err)
	}
	time.Sleep(freshness + freshness/10)
	if names, err := os.ReadDir(filepath.Join(dir, "vm/a")); err != nil || len(names) != 2 {
		t.Errorf("%q, %v", names, err)
	}
	got, err := os.ReadFile(filepath.Join(dir, "vm/a/latest/disks/vda.raw"))
	if err != nil {
		t.Fatal(err)
	}
	mustEqual(t, "the other one", got, second.bytes(t))
	if got := reported.String(); got != "" && !strings.Contains(got, "cannot be entered any more: it was forgotten") {
		t.Errorf("reported %s", got)
	}
}
