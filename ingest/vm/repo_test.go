package vm

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"testing"

	"vaultfs/repo"
	"vaultfs/repo/seal"
	"vaultfs/repo/store"
)

// newRepo makes a repository in memory that is verified when the test is over.
func newRepo(t *testing.T) *repo.Repo {
	t.Helper()
	st, err := store.NewMem().Store()
	if err != nil {
		t.Fatal(err)
	}
	password, cheap := []byte("secret"), seal.KDF{Memory: 64, Time: 1, Threads: 1}
	if err := repo.Init(t.Context(), st, repo.InitOptions{Password: password, Label: "test", Cost: cheap}); err != nil {
		t.Fatal(err)
	}
	r, err := repo.Open(t.Context(), st, repo.OpenOptions{Password: password})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.Close() })
	return r
}

// wantNoSnapshots fails if anything was committed, or a session is left open.
func wantNoSnapshots(t *testing.T, r *repo.Repo) {
	t.Helper()
	if snaps, err := r.Snapshots(t.Context()); err != nil || len(snaps) > 0 {
		t.Errorf("committed: %v %v", snaps, err)
	}
	if open, err := r.Sessions(t.Context()); err != nil || len(open) > 0 {
		t.Errorf("sessions left open: %v %v", open, err)
	}
}

func item(t *testing.T, s *repo.Snapshot, name string) repo.Item {
	t.Helper()
	for _, it := range s.Items {
		if it.Name == name {
			return it
		}
	}
	t.Fatalf("snapshot has no item %s: %v", name, s.Items)
	return repo.Item{}
}

// restore writes a disk of a snapshot to a raw file.
func restore(t *testing.T, r *repo.Repo, s *repo.Snapshot, name string) string {
	t.Helper()
	d, err := r.OpenDisk(t.Context(), item(t, s, name))
	if err != nil {
		t.Fatal(err)
	}
	f, err := os.Create(filepath.Join(t.TempDir(), name+".raw"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := f.Truncate(d.Size()); err != nil {
		t.Fatal(err)
	}
	for off := int64(0); ; {
		off, err = d.NextData(off)
		if errors.Is(err, io.EOF) {
			return f.Name()
		}
		if err != nil {
			t.Fatal(err)
		}
		end, err := d.NextHole(off)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.Copy(io.NewOffsetWriter(f, off), io.NewSectionReader(d, off, end-off)); err != nil {
			t.Fatal(err)
		}
		off = end
	}
}

// text is a file of a snapshot.
func text(t *testing.T, r *repo.Repo, s *repo.Snapshot, name string) string {
	t.Helper()
	f, err := r.OpenFile(t.Context(), item(t, s, name))
	if err != nil {
		t.Fatal(err)
	}
	b, err := io.ReadAll(io.NewSectionReader(f, 0, f.Size()))
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}
