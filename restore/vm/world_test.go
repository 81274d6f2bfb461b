package vm

import (
	"os"
	"testing"

	"vaultfs/internal/testguest"
	"vaultfs/internal/virt"
	"vaultfs/repo"
)

// world is a repository with a snapshot that is brought back.
type world struct {
	repo *repo.Repo
	snap *repo.Snapshot
}

// text is a file of the snapshot.
func (w *world) text(t *testing.T, name string) string {
	t.Helper()
	it := w.snap.Item(name)
	if it == nil {
		t.Fatalf("the snapshot has no %s", name)
	}
	b, err := readItem(t.Context(), w.repo, *it, 1<<30)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// wantEmpty fails unless a directory has nothing in it.
func wantEmpty(t *testing.T, dir string) {
	t.Helper()
	if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
		t.Errorf("left in %s: %v %v", dir, left, err)
	}
}

// surveyed is what the domains of the test's libvirt have.
func surveyed(t *testing.T) *taken {
	t.Helper()
	h, err := virt.Connect(testguest.URI)
	if err != nil {
		t.Fatal(err)
	}
	defer h.Close()
	all, err := survey(h)
	if err != nil {
		t.Fatal(err)
	}
	return all
}
