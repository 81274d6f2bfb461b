package vm

import (
	"bytes"
	"context"
	"math/rand/v2"
	"testing"

	"vaultfs/ingest"
	ingestvm "vaultfs/ingest/vm"
	"vaultfs/internal/testguest"
	"vaultfs/repo"
	"vaultfs/repo/seal"
	"vaultfs/repo/store"
)

// newRepo makes a repository in memory.
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

// backup backs a guest up as the program does.
func backup(t *testing.T, r *repo.Repo, g *testguest.Guest) *repo.Snapshot {
	t.Helper()
	result, err := ingestvm.Ingest(t.Context(), r, g.Name, ingestvm.Options{Connect: testguest.URI, ScratchDir: testguest.Dir(t)})
	if err != nil {
		t.Fatal(err)
	}
	for _, w := range result.Warnings {
		t.Errorf("ingest warns: %s", w)
	}
	return result.Snapshot
}

// image is the content of a disk.
type image []byte

func (m image) Size() int64 { return int64(len(m)) }

func (m image) Data(_ context.Context, off, n int64) ([]ingest.Run, error) {
	return []ingest.Run{{Off: off, Len: n}}, nil
}

func (m image) ReadAt(_ context.Context, p []byte, off int64) error {
	copy(p, m[off:])
	return nil
}

// noise is a disk of that size that no compressor shortens.
func noise(size int, seed byte) image {
	m := make(image, size)
	rand.NewChaCha8([32]byte{seed}).Read(m)
	return m
}

// part is an item of a snapshot made up by a test.
type part struct {
	name    string
	disk    image  // or
	content string // of a file
}

// makeUp commits a snapshot of parts: what no ingest would make, or what would take a guest to make.
func makeUp(t *testing.T, r *repo.Repo, parts ...part) *repo.Snapshot {
	t.Helper()
	s, err := r.NewSession(t.Context(), repo.SessionOptions{Source: "vm/made-up", Kind: "vm"})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Abort(t.Context())
	for _, p := range parts {
		if p.disk == nil {
			if _, err := s.AddFile(t.Context(), p.name, bytes.NewReader([]byte(p.content))); err != nil {
				t.Fatal(err)
			}
			continue
		}
		root, err := ingest.CopyDisk(t.Context(), s, p.disk, new(ingest.Progress))
		if err != nil {
			t.Fatal(err)
		}
		if err := s.AddItem(repo.Item{Name: p.name, Kind: repo.ItemDisk, Size: p.disk.Size(), Root: root}); err != nil {
			t.Fatal(err)
		}
	}
	snap, err := s.Commit(t.Context(), repo.Info{})
	if err != nil {
		t.Fatal(err)
	}
	return snap
}
