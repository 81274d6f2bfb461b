package repo_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"
	"vaultfs/repo"
	"vaultfs/repo/store"
)

func TestKilledAtRandomMoments(t *testing.T) {
	const kills, each = 50, 4
	dir, st := newDirStore(t)
	r := reopen(t, st)
	defer r.Close()
	first := overlap(0)
	mustIngest(t, r, first)

	begin := time.Now()
	cmd, said := startChild(t, dir, 1)
	if err := cmd.Wait(); err != nil {
		t.Fatalf("%v: %s", err, said)
	}
	takes := time.Since(begin)
	var killed atomic.Int32
	started := 2
	for round := 0; killed.Load() < kills; round++ {
		if round == 3*kills/each {
			t.Fatalf("only %d were killed at work", killed.Load())
		}
		var group sync.WaitGroup
		for i := range each {
			cmd, _ := startChild(t, dir, started+i)
			group.Go(func() {
				time.Sleep(time.Duration(rand.Int64N(int64(3 * takes / 2))))
				if err := cmd.Process.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
					t.Error(err)
				}
				if cmd.Wait() != nil {
					killed.Add(1)
				}
			})
		}
		group.Wait()
		started += each
		got, err := r.Verify(t.Context(), repo.VerifyOptions{ReadData: round%4 == 0})
		if err != nil || len(got.Findings) > 0 {
			t.Fatalf("after round %d: %v, %v", round, got, err)
		}
	}
	t.Logf("%d of %d were killed at work; one alone takes %v", killed.Load(), started-2, takes)
	for _, n := range []int{0, 2, 3, started - 1} {
		again := overlap(n)
		again.mustRead(t, r, mustIngest(t, r, again))
	}
	for _, s := range mustSnapshots(t, r) {
		var n int
		fmt.Sscanf(s.Source, "vm/%d", &n)
		overlap(n).mustRead(t, r, s)
	}
	mustVerify(t, r)
	checkExplained(t, st)
	checkModes(t, dir)
	left, err := filepath.Glob(dir + "/tmp/*")
	if err != nil || len(left) > 0 {
		t.Errorf("left in tmp: %v, %v", left, err)
	}
}

// checkModes demands that nobody but the owner can look in.
func checkModes(t *testing.T, dir string) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		want := fs.FileMode(0o600)
		if d.IsDir() {
			want = fs.ModeDir | 0o700
		}
		if info.Mode() != want {
			t.Errorf("%s has mode %v", path, info.Mode())
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
}

// tmpfs mounts a file system of so many KiB.
func tmpfs(t *testing.T, size int) string {
	t.Helper()
	path := t.TempDir()
	if err := unix.Mount("tmpfs", path, "tmpfs", 0, fmt.Sprintf("size=%dk,mode=0700", size)); err != nil {
		t.Fatalf("mount tmpfs (the test needs root): %v", err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(path, unix.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	return path
}

// A full disk ends an ingest with a clear error. What was there is intact and
// can be read and verified while the disk is full, and once there is room the
// next attempt uses what had been stored.
func TestFullDisk(t *testing.T) {
	defer repo.SmallPacks()()
	for _, size := range []int{1500, 1700, 1900} {
		path := tmpfs(t, size)
		st, err := store.Create(path)
		if err != nil {
			t.Fatal(err)
		}
		initRepo(t, st)
		r := reopen(t, st)
		first := newBackup("vm/a", 10)
		second := first.changed(70)
		second.disk.data[40<<20] = random(77, 3<<20)
		snap := mustIngest(t, r, first)
		for range 5 { // it does not eat up more with each attempt
			_, err := second.ingest(t.Context(), r)
			if !errors.Is(err, repo.ErrNoSpace) {
				t.Fatalf("%d KiB: %v", size, err)
			}
		}
		if n := len(mustSnapshots(t, r)); n != 1 {
			t.Errorf("%d snapshots", n)
		}
		// Now to the last byte.
		fill(t, path)
		r.Close()
		r = reopen(t, st)
		first.mustRead(t, r, snap)
		mustVerify(t, r)
		pin, err := r.Pin(t.Context(), "mount", snap)
		if err != nil {
			t.Errorf("a full repository cannot be mounted: %v", err)
		} else {
			pin.Release(t.Context())
		}
		if _, err := second.ingest(t.Context(), r); !errors.Is(err, repo.ErrNoSpace) {
			t.Errorf("without a free byte: %v", err)
		}
		if err := os.Remove(filepath.Join(path, ".fill")); err != nil {
			t.Fatal(err)
		}
		if err := unix.Mount("", path, "", unix.MS_REMOUNT, "size=20m,mode=0700"); err != nil {
			t.Fatal(err)
		}
		again := mustIngest(t, r, second)
		second.mustRead(t, r, again)
		if n := again.Info.Summary.BytesNew; n >= 3<<20 {
			t.Errorf("%d KiB: nothing was used again, %d bytes are new", size, n)
		}
		mustVerify(t, r)
		checkExplained(t, st)
		r.Close()
		st.Close()
	}
}

// fill takes the last bytes of a file system.
func fill(t *testing.T, path string) {
	t.Helper()
	f, err := os.OpenFile(filepath.Join(path, ".fill"), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for block := make([]byte, 64<<10); len(block) > 0; {
		if _, err := f.Write(block); err != nil {
			block = block[:len(block)/2]
		}
	}
}

// A repository on a medium that cannot be written to is read and verified.
func TestReadOnlyRepository(t *testing.T) {
	path := tmpfs(t, 20<<10)
	st, err := store.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	initRepo(t, st)
	r, b := reopen(t, st), newBackup("vm/a", 10)
	snap := mustIngest(t, r, b)
	r.Close()
	st.Close()
	if err := unix.Mount("", path, "", unix.MS_REMOUNT|unix.MS_RDONLY, ""); err != nil {
		t.Fatal(err)
	}
	if st, err = store.OpenDir(path); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { st.Close() })
	r = open(t, st)
	b.mustRead(t, r, snap)
	pin, err := r.Pin(t.Context(), "mount", snap)
	if err != nil {
		t.Fatal(err)
	}
	if err := pin.Release(context.Background()); err != nil {
		t.Error(err)
	}
	if _, err := b.ingest(t.Context(), r); !errors.Is(err, store.ErrReadOnly) {
		t.Errorf("ingest: %v", err)
	}
}
