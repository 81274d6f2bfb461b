package restore_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"

	"vaultfs/ingest"
	"vaultfs/repo"
	"vaultfs/repo/store"
	"vaultfs/restore"
)

// image is a disk with noise in some ranges.
type image struct {
	runs  []ingest.Run
	bytes []byte
}

func newImage(size int64, runs ...ingest.Run) image {
	m := image{runs, make([]byte, size)}
	for _, r := range runs {
		rand.NewChaCha8([32]byte{byte(r.Off >> 12), byte(r.Off >> 20)}).Read(m.bytes[r.Off : r.Off+r.Len])
	}
	return m
}

func (m image) Size() int64 { return int64(len(m.bytes)) }

func (m image) Data(_ context.Context, off, n int64) (runs []ingest.Run, err error) {
	for _, r := range m.runs {
		from, to := max(r.Off, off), min(r.Off+r.Len, off+n)
		if from < to {
			runs = append(runs, ingest.Run{Off: from, Len: to - from})
		}
	}
	return runs, nil
}

func (m image) ReadAt(_ context.Context, p []byte, off int64) error {
	copy(p, m.bytes[off:])
	return nil
}

var disk = newImage(100<<20+512, ingest.Run{Off: 0, Len: 512}, ingest.Run{Off: 1 << 20, Len: 3 << 20},
	ingest.Run{Off: 60<<20 - 4096, Len: 9 << 20}, ingest.Run{Off: 100 << 20, Len: 512})

// newRepo makes a repository in dir. It is proved when the test is over.
func newRepo(t testing.TB, dir string) *repo.Repo {
	t.Helper()
	st, err := store.Create(dir)
	if err != nil {
		t.Fatal(err)
	}
	if err := repo.Init(t.Context(), st, repo.InitOptions{NoEncryption: true}); err != nil {
		t.Fatal(err)
	}
	r, err := repo.Open(t.Context(), st, repo.OpenOptions{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		r.Close()
		st.Close()
	})
	return r
}

// commit makes a snapshot of images, and of a file domain.xml.
func commit(t testing.TB, r *repo.Repo, disks map[string]image) *repo.Snapshot {
	t.Helper()
	s, err := r.NewSession(t.Context(), repo.SessionOptions{Source: "vm/a", Kind: "vm"})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Abort(t.Context())
	for name, img := range disks {
		root, err := ingest.CopyDisk(t.Context(), s, img, new(ingest.Progress))
		if err != nil {
			t.Fatal(err)
		}
		if err := s.AddItem(repo.Item{Name: name, Kind: repo.ItemDisk, Size: img.Size(), Root: root}); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := s.AddFile(t.Context(), "domain.xml", strings.NewReader("<domain/>")); err != nil {
		t.Fatal(err)
	}
	snap, err := s.Commit(t.Context(), repo.Info{})
	if err != nil {
		t.Fatal(err)
	}
	return snap
}

func mustRun(t *testing.T, name string, args ...string) {
	t.Helper()
	if out, err := exec.Command(name, args...).CombinedOutput(); err != nil {
		t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out)
	}
}

// allocated is what a file takes on its file system, in bytes.
func allocated(t *testing.T, path string) int64 {
	t.Helper()
	var st syscall.Stat_t
	if err := syscall.Stat(path, &st); err != nil {
		t.Fatal(err)
	}
	return st.Blocks * 512
}

// mustHoldOnly fails if a directory holds anything but these.
func mustHoldOnly(t *testing.T, dir string, want ...string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, e := range entries {
		got = append(got, e.Name())
	}
	if strings.Join(got, " ") != strings.Join(want, " ") {
		t.Errorf("%s holds %q, want %q", dir, got, want)
	}
}

func TestRawFileIsTheDiskAndSparse(t *testing.T) {
	dir := t.TempDir()
	r := newRepo(t, dir+"/repo")
	snap := commit(t, r, map[string]image{"vda": disk})
	p := new(restore.Progress)
	w, err := restore.Item(t.Context(), r, snap, snap.Items[0], dir+"/out.img", restore.Options{Progress: p})
	if err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile(dir + "/out.img")
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, disk.bytes) {
		t.Error("the file differs from the disk")
	}
	if w.Format != restore.Raw || w.Size != disk.Size() {
		t.Errorf("written: %+v", w)
	}
	if n := allocated(t, dir+"/out.img"); n > 13<<20 {
		t.Errorf("a disk with 12 MiB of data takes %d bytes", n)
	}
	if n := p.Total.Load() - p.Done.Load(); n < 0 || n >= 4096 || p.Done.Load() == 0 {
		t.Errorf("progress ends at %d of %d", p.Done.Load(), p.Total.Load())
	}
}

func TestQCOW2FileIsWhatQEMUReads(t *testing.T) {
	dir := t.TempDir()
	r := newRepo(t, dir+"/repo")
	snap := commit(t, r, map[string]image{"vda": disk})
	if err := os.WriteFile(dir+"/want.raw", disk.bytes, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(dir+"/out", 0o700); err != nil {
		t.Fatal(err)
	}
	w, err := restore.Item(t.Context(), r, snap, snap.Items[0], dir+"/out", restore.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if w.Path != dir+"/out/vda.qcow2" {
		t.Errorf("written to %s", w.Path)
	}
	mustRun(t, "qemu-img", "check", "-q", "-f", "qcow2", w.Path)
	mustRun(t, "qemu-img", "compare", "-q", "-f", "qcow2", "-F", "raw", w.Path, dir+"/want.raw")
	if n := allocated(t, w.Path); n > 14<<20 {
		t.Errorf("a disk with 12 MiB of data takes %d bytes", n)
	}
}

func TestWholeSnapshot(t *testing.T) {
	dir := t.TempDir()
	r := newRepo(t, dir+"/repo")
	snap := commit(t, r, map[string]image{"vda": disk, "vdb": newImage(1 << 20)})
	out := dir + "/out"
	done, err := restore.All(t.Context(), r, snap, out, restore.Options{Format: restore.Raw})
	if err != nil {
		t.Fatal(err)
	}
	if len(done) != 3 {
		t.Errorf("%d items are told to be written, want 3", len(done))
	}
	mustHoldOnly(t, out, "disks", "domain.xml")
	mustHoldOnly(t, out+"/disks", "vda.raw", "vdb.raw")
	if b, _ := os.ReadFile(out + "/domain.xml"); string(b) != "<domain/>" {
		t.Errorf("domain.xml holds %q", b)
	}
	if _, err := restore.All(t.Context(), r, snap, out, restore.Options{}); err == nil || !strings.Contains(err.Error(), "not empty") {
		t.Errorf("a second time into the same directory: %v", err)
	}
	if _, err := restore.All(t.Context(), r, snap, out, restore.Options{Format: restore.Raw, Force: true}); err != nil {
		t.Errorf("a second time with force: %v", err)
	}
}

func TestExistingFileIsKept(t *testing.T) {
	dir := t.TempDir()
	r := newRepo(t, dir+"/repo")
	snap := commit(t, r, map[string]image{"vda": newImage(1 << 20)})
	path := dir + "/a.raw"
	if err := os.WriteFile(path, []byte("precious"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := restore.Item(t.Context(), r, snap, snap.Items[0], path, restore.Options{}); err == nil || !strings.Contains(err.Error(), "--force") {
		t.Errorf("over an existing file: %v", err)
	}
	if b, _ := os.ReadFile(path); string(b) != "precious" {
		t.Errorf("the file was changed: %q", b)
	}
	if err := os.Symlink("nowhere", dir+"/link.raw"); err != nil {
		t.Fatal(err)
	}
	if _, err := restore.Item(t.Context(), r, snap, snap.Items[0], dir+"/link.raw", restore.Options{}); err == nil {
		t.Error("over a symbolic link to nothing: no error")
	}
	if _, err := restore.Item(t.Context(), r, snap, snap.Items[0], path, restore.Options{Force: true}); err != nil {
		t.Errorf("with force: %v", err)
	}
	mustHoldOnly(t, dir, "a.raw", "link.raw", "repo")
}

func TestNothingIsLeftAfterAnError(t *testing.T) {
	dir := t.TempDir()
	r := newRepo(t, dir+"/repo")
	snap := commit(t, r, map[string]image{"vda": disk})
	damageData(t, dir+"/repo")
	_, err := restore.Item(t.Context(), r, snap, snap.Items[0], dir+"/out.raw", restore.Options{})
	if !errors.Is(err, repo.ErrDamaged) {
		t.Errorf("a damaged disk: %v", err)
	}
	_, err = restore.All(t.Context(), r, snap, dir+"/all", restore.Options{})
	if !errors.Is(err, repo.ErrDamaged) {
		t.Errorf("a damaged snapshot: %v", err)
	}
	mustHoldOnly(t, dir, "repo")
}

func TestEndsWithItsContext(t *testing.T) {
	dir := t.TempDir()
	r := newRepo(t, dir+"/repo")
	snap := commit(t, r, map[string]image{"vda": disk})
	ctx, cancel := context.WithCancel(t.Context())
	p := new(restore.Progress)
	go func() {
		for p.Done.Load() == 0 {
		}
		cancel()
	}()
	if _, err := restore.Item(ctx, r, snap, snap.Items[0], dir+"/out.raw", restore.Options{Progress: p}); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
	mustHoldOnly(t, dir, "repo")
}

func TestHostileNamesStayInside(t *testing.T) {
	dir := t.TempDir()
	r := newRepo(t, dir+"/repo")
	for _, name := range []string{"../../evil", "/evil", "a/../../evil"} {
		snap := commit(t, r, map[string]image{name: newImage(4096)})
		if _, err := restore.All(t.Context(), r, snap, dir+"/out", restore.Options{}); err == nil {
			t.Errorf("an item named %q was restored", name)
		}
		if _, err := restore.Item(t.Context(), r, snap, snap.Items[0], dir, restore.Options{}); err == nil {
			t.Errorf("an item named %q was restored to a directory", name)
		}
		mustHoldOnly(t, dir, "repo")
	}
}

func TestTooLittleSpaceIsSaidBefore(t *testing.T) {
	dir := t.TempDir()
	mustRun(t, "mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", mkdir(t, dir+"/small"))
	t.Cleanup(func() { mustRun(t, "umount", dir+"/small") })
	r := newRepo(t, dir+"/repo")
	snap := commit(t, r, map[string]image{"vda": disk})
	for _, run := range []func() error{
		func() error {
			_, err := restore.Item(t.Context(), r, snap, snap.Items[0], dir+"/small/a.raw", restore.Options{})
			return err
		},
		func() error {
			_, err := restore.All(t.Context(), r, snap, dir+"/small/all", restore.Options{})
			return err
		},
	} {
		var space *restore.SpaceError
		if err := run(); !errors.As(err, &space) || space.Need < 12<<20 || space.Free > 4<<20 {
			t.Errorf("12 MiB into 4 MiB: %v", err)
		}
	}
	mustHoldOnly(t, dir+"/small")
}

func mkdir(t *testing.T, dir string) string {
	t.Helper()
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	return dir
}

func TestBlockDevice(t *testing.T) {
	dir := t.TempDir()
	r := newRepo(t, dir+"/repo")
	snap := commit(t, r, map[string]image{"vda": disk})
	const size = 104 << 20
	old := bytes.Repeat([]byte{0xff}, size)
	if err := os.WriteFile(dir+"/back", old, 0o600); err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command("losetup", "--find", "--show", dir+"/back").Output()
	if err != nil {
		t.Fatalf("losetup: %v", err)
	}
	device := strings.TrimSpace(string(out))
	t.Cleanup(func() { mustRun(t, "losetup", "--detach", device) })

	for want, o := range map[string]restore.Options{
		"--force": {},
		"raw":     {Force: true, Format: restore.QCOW2},
	} {
		if _, err := restore.Item(t.Context(), r, snap, snap.Items[0], device, o); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%+v: %v, want a word of %s", o, err, want)
		}
	}
	if _, err := restore.Item(t.Context(), r, snap, snap.Items[0], device, restore.Options{Force: true}); err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(device)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	got, err := io.ReadAll(f)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got[:disk.Size()], disk.bytes) {
		t.Error("the device differs from the disk")
	}
	if !bytes.Equal(got[disk.Size():], old[disk.Size():]) {
		t.Error("the device was written beyond the disk's end")
	}
	big := commit(t, r, map[string]image{"vda": newImage(size + 512)})
	if _, err := restore.Item(t.Context(), r, big, big.Items[0], device, restore.Options{Force: true}); err == nil || !strings.Contains(err.Error(), "does not fit") {
		t.Errorf("a disk larger than the device: %v", err)
	}
}
