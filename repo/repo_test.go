package repo_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"testing"

	"vaultfs/ingest"
	"vaultfs/repo"
	"vaultfs/repo/seal"
	"vaultfs/repo/store"
)

// cheap is a cost of passwords for tests.
var cheap = seal.KDF{Memory: 64, Time: 1, Threads: 1}

// memImage is a disk in memory.
type memImage []byte

func (m memImage) Size() int64 { return int64(len(m)) }

func (m memImage) Data(_ context.Context, off, n int64) ([]ingest.Run, error) {
	return []ingest.Run{{Off: off, Len: n}}, nil
}

func (m memImage) ReadAt(_ context.Context, p []byte, off int64) error {
	copy(p, m[off:])
	return nil
}

// noise is n bytes that no compressor shortens, and zeros here and there.
func noise(seed uint64, n int) []byte {
	b := make([]byte, n)
	rng := rand.NewChaCha8([32]byte{byte(seed), byte(seed >> 8)})
	rng.Read(b)
	for off := 0; off+1<<18 < n; off += 1 << 20 {
		clear(b[off : off+1<<17])
	}
	return b
}

// sparse is n bytes with noise at both ends and in the middle.
func sparse(seed uint64, n int) []byte {
	b := make([]byte, n)
	part := noise(seed, min(n, 2<<20))
	copy(b, part)
	copy(b[n/2:], part)
	copy(b[n-len(part):], part)
	return b
}

func newStore(t *testing.T) *store.Dir {
	t.Helper()
	st, err := store.NewMem().Store()
	if err != nil {
		t.Fatal(err)
	}
	return st
}

// newRepo makes a repository that verifies itself when the test is over.
func newRepo(t *testing.T, st *store.Dir) *repo.Repo {
	t.Helper()
	if err := repo.Init(t.Context(), st, repo.InitOptions{Password: []byte("secret"), Label: "test", Cost: cheap}); err != nil {
		t.Fatal(err)
	}
	return open(t, st)
}

func open(t *testing.T, st *store.Dir) *repo.Repo {
	t.Helper()
	r, err := repo.Open(t.Context(), st, repo.OpenOptions{Password: []byte("secret"), Warn: func(s string) { t.Log(s) }})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if !t.Failed() {
			mustVerify(t, r)
		}
		r.Close()
	})
	return r
}

func mustVerify(t *testing.T, r *repo.Repo) *repo.VerifyResult {
	t.Helper()
	got, err := r.Verify(context.Background(), repo.VerifyOptions{ReadData: true})
	if err != nil {
		t.Fatalf("verify: %v", err)
	}
	for _, f := range got.Findings {
		t.Errorf("verify: %s: %v", f.Object, f.Err)
	}
	return got
}

// ingestDisk commits one snapshot of one disk.
func ingestDisk(t *testing.T, r *repo.Repo, source string, disk []byte) *repo.Snapshot {
	t.Helper()
	s, err := tryDisk(t.Context(), r, source, disk)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func tryDisk(ctx context.Context, r *repo.Repo, source string, disk []byte) (*repo.Snapshot, error) {
	s, err := r.NewSession(ctx, repo.SessionOptions{Source: source, Kind: "disk", Verify: true})
	if err != nil {
		return nil, err
	}
	defer s.Abort(ctx)
	root, err := ingest.CopyDisk(ctx, s, memImage(disk), new(ingest.Progress))
	if err != nil {
		return nil, err
	}
	if err := s.AddItem(repo.Item{Name: "vda", Kind: repo.ItemDisk, Size: int64(len(disk)), Root: root}); err != nil {
		return nil, err
	}
	return s.Commit(ctx, repo.Info{Program: "test"})
}

func readDisk(t *testing.T, r *repo.Repo, s *repo.Snapshot) []byte {
	t.Helper()
	d, err := r.OpenDisk(t.Context(), s.Items[0])
	if err != nil {
		t.Fatal(err)
	}
	b, err := io.ReadAll(io.NewSectionReader(d, 0, d.Size()))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestDiskComesBackAsItWentIn(t *testing.T) {
	for _, size := range []int{0, 512, 4096, 65536 + 512, 3<<20 + 1024, repo.SegmentSize + 512} {
		disk := sparse(uint64(size), size)
		r := newRepo(t, newStore(t))
		s := ingestDisk(t, r, "disk/a", disk)
		if got := readDisk(t, r, s); !bytes.Equal(got, disk) {
			t.Errorf("a disk of %d bytes comes back different", size)
		}
	}
}

func TestSameDiskAgainAddsNoData(t *testing.T) {
	st := newStore(t)
	disk := noise(1, 20<<20)
	first := ingestDisk(t, newRepo(t, st), "disk/a", disk)
	again := ingestDisk(t, open(t, st), "disk/b", disk)
	if n := first.Info.Summary.BytesNew; n < 15<<20 {
		t.Errorf("first ingest: %d new bytes", n)
	}
	if n := again.Info.Summary.BytesNew; n != 0 {
		t.Errorf("second ingest: %d new bytes, want none", n)
	}
	if !bytes.Equal(readDisk(t, open(t, st), again), disk) {
		t.Error("the second disk comes back different")
	}
}

func TestStreamComesBack(t *testing.T) {
	r := newRepo(t, newStore(t))
	for _, size := range []int{0, 1, 1 << 20, 12 << 20} {
		want := noise(7, size)
		s, err := r.NewSession(t.Context(), repo.SessionOptions{Source: "stdin/x", Kind: "stdin"})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := s.AddFile(t.Context(), "x", bytes.NewReader(want)); err != nil {
			t.Fatal(err)
		}
		snap, err := s.Commit(t.Context(), repo.Info{})
		if err != nil {
			t.Fatal(err)
		}
		f, err := r.OpenFile(t.Context(), snap.Items[0])
		if err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(io.NewSectionReader(f, 0, f.Size()))
		if err != nil || !bytes.Equal(got, want) {
			t.Errorf("a stream of %d bytes comes back different (%v)", size, err)
		}
	}
}

func TestOpenTellsPasswordsApart(t *testing.T) {
	st := newStore(t)
	newRepo(t, st)
	for _, c := range []struct {
		password []byte
		want     error
	}{{nil, repo.ErrPasswordNeeded}, {[]byte("wrong"), repo.ErrWrongPassword}} {
		if _, err := repo.Open(t.Context(), st, repo.OpenOptions{Password: c.password}); !errors.Is(err, c.want) {
			t.Errorf("password %q: %v, want %v", c.password, err, c.want)
		}
	}
	if _, err := repo.Open(t.Context(), newStore(t), repo.OpenOptions{}); !errors.Is(err, repo.ErrNotRepository) {
		t.Errorf("empty store: %v", err)
	}
	clear := newStore(t)
	if err := repo.Init(t.Context(), clear, repo.InitOptions{NoEncryption: true}); err != nil {
		t.Fatal(err)
	}
	if _, err := repo.Open(t.Context(), clear, repo.OpenOptions{Password: []byte("x")}); !errors.Is(err, repo.ErrUnencrypted) {
		t.Errorf("password for a repository in clear: %v", err)
	}
}
