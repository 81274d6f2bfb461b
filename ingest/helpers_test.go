package ingest

import (
	"bytes"
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"testing"

	"go.uber.org/goleak"
	"vaultfs/chunk"
	"vaultfs/repo"
	"vaultfs/repo/seal"
	"vaultfs/repo/store"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// cluster is the unit in which test images allocate and their changes are
// tracked, in bytes.
const cluster = 64 << 10

// A guestDisk is a disk of which clusters that are not there are zeros. It is
// an Image. The bytes of a cluster do not change: several disks share them.
type guestDisk struct {
	size     int64
	clusters map[int64][]byte // by number, whole also at the end of the disk
	read     atomic.Int64     // bytes, by ReadAt
	before   func(off int64) error

	allocated sync.Once
	runs      []Run // of clusters, once they are asked for
}

// newDisk is a disk of zeros.
func newDisk(size int64) *guestDisk { return &guestDisk{size: size, clusters: map[int64][]byte{}} }

// A write is what a guest does to its disk: random bytes, or zeros.
type write struct {
	off, n int64
	zeros  bool
}

// with returns the disk after writes, and which clusters they touched.
func (g *guestDisk) with(writes ...write) (*guestDisk, []Run) {
	after := &guestDisk{size: g.size, clusters: maps.Clone(g.clusters)}
	var dirty []Run
	for k, w := range writes {
		first, end := w.off/cluster, (w.off+w.n+cluster-1)/cluster
		dirty = append(dirty, Run{first * cluster, min((end-first)*cluster, g.size-first*cluster)})
		for i := first; i < end; i++ {
			from, to := max(w.off-i*cluster, 0), min(w.off+w.n-i*cluster, cluster)
			if w.zeros && (to-from == cluster || after.clusters[i] == nil) {
				delete(after.clusters, i)
				continue
			}
			c := make([]byte, cluster)
			copy(c, after.clusters[i])
			clear(c[from:to])
			if !w.zeros {
				noise(uint64(k)<<40|uint64(w.off^i), c[from:to])
			}
			after.clusters[i] = c
		}
	}
	dirty, err := tidy(dirty, 0, g.size)
	if err != nil {
		panic(err)
	}
	return after, dirty
}

func (g *guestDisk) Size() int64 { return g.size }

func (g *guestDisk) Data(_ context.Context, off, n int64) ([]Run, error) {
	g.allocated.Do(func() {
		for _, i := range slices.Sorted(maps.Keys(g.clusters)) {
			g.runs = appendRun(g.runs, Run{i * cluster, cluster})
		}
	})
	return within(g.runs, off, n), nil
}

func (g *guestDisk) ReadAt(ctx context.Context, p []byte, off int64) error {
	if off+int64(len(p)) > g.size {
		return fmt.Errorf("a read of %d bytes at %d of %d", len(p), off, g.size)
	}
	g.read.Add(int64(len(p)))
	if g.before != nil {
		if err := g.before(off); err != nil {
			return err
		}
	}
	clear(p)
	for n := int64(0); n < int64(len(p)); {
		i, in := (off+n)/cluster, (off+n)%cluster
		if c := g.clusters[i]; c != nil {
			copy(p[n:], c[in:])
		}
		n += cluster - in
	}
	return ctx.Err()
}

// same demands that a stored disk is this one.
func (g *guestDisk) same(t testing.TB, d *repo.Disk) {
	t.Helper()
	allocated, zeros, got := int64(0), make([]byte, chunk.Grain), make([]byte, cluster)
	for i, want := range g.clusters {
		n := min(cluster, g.size-i*cluster)
		if _, err := d.ReadAt(got[:n], i*cluster); err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(got[:n], want[:n]) {
			t.Errorf("cluster %d comes back different", i)
		}
		for at := int64(0); at < n; at += chunk.Grain {
			if grain := want[at:min(at+chunk.Grain, n)]; !bytes.Equal(grain, zeros[:len(grain)]) {
				allocated += chunk.Grain
			}
		}
	}
	if d.Size() != g.size || d.Allocated() != allocated {
		t.Errorf("%d bytes, %d of them in data; want %d and %d", d.Size(), d.Allocated(), g.size, allocated)
	}
}

// these is a RunsFunc of tidy runs.
func these(runs []Run) RunsFunc {
	return func(_ context.Context, off, n int64) ([]Run, error) { return within(runs, off, n), nil }
}

// newRepo makes a repository that verifies itself when the test is over.
func newRepo(t testing.TB) *repo.Repo {
	t.Helper()
	r, _ := newRepoIn(t)
	t.Cleanup(func() {
		got, err := r.Verify(context.Background(), repo.VerifyOptions{ReadData: true})
		if err != nil {
			t.Errorf("verify: %v", err)
			return
		}
		for _, f := range got.Findings {
			t.Errorf("verify: %s: %v", f.Object, f.Err)
		}
	})
	return r
}

// newRepoIn makes a repository in a directory, which it returns.
func newRepoIn(t testing.TB) (*repo.Repo, string) {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "repo")
	st, err := store.Create(dir)
	if err != nil {
		t.Fatal(err)
	}
	password := []byte("secret")
	if err := repo.Init(t.Context(), st, repo.InitOptions{Password: password, Cost: seal.KDF{Memory: 64, Time: 1, Threads: 1}}); err != nil {
		t.Fatal(err)
	}
	r, err := repo.Open(t.Context(), st, repo.OpenOptions{Password: password, Warn: func(s string) { t.Log(s) }})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		r.Close()
		st.Close()
	})
	return r, dir
}

// session opens a session that may take over from a snapshot.
func session(t testing.TB, r *repo.Repo, base *repo.Snapshot) *repo.Session {
	t.Helper()
	s, err := r.NewSession(t.Context(), repo.SessionOptions{Source: "vm/a", Kind: "vm", Base: base})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Abort(context.Background()); err != nil {
			t.Error(err)
		}
	})
	return s
}

// commit makes a snapshot of one disk.
func commit(t testing.TB, s *repo.Session, root chunk.ID, size int64) *repo.Snapshot {
	t.Helper()
	add(t, s, "vda", root, size)
	snap, err := s.Commit(t.Context(), repo.Info{Program: "test"})
	if err != nil {
		t.Fatal(err)
	}
	return snap
}

// add makes a disk part of a session's snapshot.
func add(t testing.TB, s *repo.Session, name string, root chunk.ID, size int64) {
	t.Helper()
	if err := s.AddItem(repo.Item{Name: name, Kind: repo.ItemDisk, Size: size, Root: root}); err != nil {
		t.Fatal(err)
	}
}

// mustCount is how much there is to read of what is dirty.
func mustCount(t testing.TB, img Image, dirty []Run) int64 {
	t.Helper()
	n, err := ChangedBytes(t.Context(), img, these(dirty))
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// full copies an image as a whole and commits it.
func full(t testing.TB, r *repo.Repo, img Image) *repo.Snapshot {
	t.Helper()
	s := session(t, r, nil)
	return commit(t, s, mustCopy(t, s, img), img.Size())
}

func mustCopy(t testing.TB, s *repo.Session, img Image) chunk.ID {
	t.Helper()
	root, err := CopyDisk(t.Context(), s, img, new(Progress))
	if err != nil {
		t.Fatal(err)
	}
	return root
}

// openBase opens the disk that a session takes over from.
func openBase(t testing.TB, s *repo.Session) *repo.Disk {
	t.Helper()
	d, err := s.OpenBase(t.Context(), "vda")
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// noise fills p with what no compressor shortens.
func noise(seed uint64, p []byte) {
	var key [32]byte
	for i := range 8 {
		key[i] = byte(seed >> (8 * i))
	}
	rand.NewChaCha8(key).Read(p)
}
