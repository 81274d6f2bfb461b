package fusefs

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"vaultfs/chunk"
	"vaultfs/repo"
	"vaultfs/repo/seal"
	"vaultfs/repo/store"
)

// newRealRepository makes an encrypted repository in a directory.
func newRealRepository(t testing.TB) (r *repo.Repo, dir string) {
	t.Helper()
	dir = filepath.Join(t.TempDir(), "repo")
	st, err := store.Create(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { st.Close() })
	if err := repo.Init(t.Context(), st, repo.InitOptions{Password: []byte("secret"), Cost: seal.KDF{Memory: 64, Time: 1, Threads: 1}}); err != nil {
		t.Fatal(err)
	}
	r, err = repo.Open(t.Context(), st, repo.OpenOptions{Password: []byte("secret"), Warn: func(s string) { t.Error(s) }})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.Close() })
	return r, dir
}

// commitReal stores a disk in a snapshot.
func commitReal(t testing.TB, r *repo.Repo, source string, at time.Time, disk *fakeDisk) {
	t.Helper()
	ctx := t.Context()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	s, err := r.NewSession(ctx, repo.SessionOptions{Source: source, Kind: "vm", Time: at})
	must(err)
	defer s.Abort(context.WithoutCancel(ctx))
	w, lane, cutter := s.NewDisk(), s.Lane(), r.DiskCutter()
	for i := range (disk.size + r.SegmentSize() - 1) / r.SegmentSize() {
		start := i * r.SegmentSize()
		p := make([]byte, (min(r.SegmentSize(), disk.size-start)+blockSize-1)/blockSize*blockSize)
		disk.ReadAt(p, start)
		var m repo.SegmentMap
		for off := 0; off < len(p); {
			zeros, n := cutter.Next(p[off:], true)
			if off += zeros; n > 0 {
				id, err := lane.Put(ctx, p[off:off+n])
				must(err)
				m = append(m, repo.Extent{Off: int64(off), Len: int64(n), ID: id})
				off += n
			}
		}
		must(w.SetSegment(ctx, lane, i, m))
	}
	root, err := w.Finish(ctx, lane, disk.size)
	must(err)
	must(s.AddItem(repo.Item{Name: "vda", Kind: repo.ItemDisk, Size: disk.size, Root: root}))
	_, err = s.AddFile(ctx, "domain.xml", strings.NewReader(fileContent("domain.xml")))
	must(err)
	_, err = s.Commit(ctx, repo.Info{})
	must(err)
}

func TestRealRepository(t *testing.T) {
	t.Parallel()
	r, repoDir := newRealRepository(t)
	disk := newFakeDisk(100<<20+512, 60, 64)
	commitReal(t, r, "vm/a", noon, disk)
	dir, reported := mount(t, FromRepo(r), Options{Exclude: repoDir})
	in := filepath.Join(dir, "vm/a/2026-11-21T12-00-00Z")
	raw, image := filepath.Join(in, "disks/vda.raw"), filepath.Join(in, "disks/vda.qcow2")

	text, err := os.ReadFile(filepath.Join(in, "domain.xml"))
	if err != nil || string(text) != fileContent("domain.xml") {
		t.Errorf("%q, %v", text, err)
	}
	got, err := os.ReadFile(raw)
	if err != nil {
		t.Fatal(err)
	}
	mustEqual(t, "raw", got, disk.bytes(t))
	run(t, "qemu-img", "check", image)
	run(t, "qemu-img", "compare", "-f", "qcow2", "-F", "raw", image, raw)

	commitReal(t, r, "vm/a", noon.Add(time.Hour), newFakeDisk(1<<20, 10, 1))
	time.Sleep(freshness + freshness/10)
	if _, err := os.Stat(filepath.Join(dir, "vm/a/latest/../2026-11-21T13-00-00Z/disks/vda.qcow2")); err != nil {
		t.Error(err)
	}
	if sessions, err := r.Sessions(t.Context()); err != nil || len(sessions) == 0 || !strings.HasPrefix(sessions[0].Purpose, "mount ") {
		t.Errorf("leases %v, %v", sessions, err)
	}
	if reported.String() != "" {
		t.Errorf("reported %s", reported)
	}
}

// TestRealDamage flips a bit of the data: what is read is right or an error.
func TestRealDamage(t *testing.T) {
	t.Parallel()
	r, repoDir := newRealRepository(t)
	disk := newFakeDisk(16<<20, 20, 64)
	commitReal(t, r, "vm/a", noon, disk)
	want := disk.bytes(t)
	flipBit(t, largestFile(t, filepath.Join(repoDir, "packs")))
	dir, reported := mount(t, FromRepo(r), Options{})
	f, err := os.Open(filepath.Join(dir, "vm/a/latest/disks/vda.raw"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	failed := 0
	for off := 0; off < len(want); off += blockSize {
		p := make([]byte, blockSize)
		_, err := f.ReadAt(p, int64(off))
		switch {
		case errors.Is(err, syscall.EIO):
			failed++
		case err != nil:
			t.Fatal(err)
		case !bytes.Equal(p, want[off:off+blockSize]):
			t.Fatalf("wrong bytes at %d", off)
		}
	}
	if failed == 0 || failed > chunk.DiskMax/blockSize {
		t.Errorf("%d of %d reads failed", failed, len(want)/blockSize)
	}
	if report := reported.String(); !strings.HasPrefix(report, "reading vm/a/2026-11-21T12-00-00Z/disks/vda.raw at ") ||
		!strings.Contains(report, ": pack ") || strings.Contains(report, "\n") {
		t.Errorf("reported %s", report)
	}
}

func largestFile(t *testing.T, dir string) (found string) {
	largest := int64(0)
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		info, err := d.Info()
		if err == nil && info.Size() > largest {
			found, largest = path, info.Size()
		}
		return err
	})
	if err != nil || found == "" {
		t.Fatal(err)
	}
	return found
}

// flipBit damages the middle of a file.
func flipBit(t *testing.T, path string) {
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	b[len(b)/2] ^= 4
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
}
