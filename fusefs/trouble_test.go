package fusefs

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"vaultfs/repo"
)

// TestDamage reads around a damaged block: it is an error, and what is beside it
// is right.
func TestDamage(t *testing.T) {
	t.Parallel()
	r := newFakeRepository()
	disk := r.disks["vda"]
	want := disk.bytes(t)
	bad := disk.blocks[len(disk.blocks)/2] * blockSize
	disk.bad.Store(bad)
	dir, reported := mount(t, r, Options{})
	path := filepath.Join(dir, raw)

	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var failed []int64
	for off := int64(0); off < int64(len(want)); off += blockSize {
		p := make([]byte, min(blockSize, int64(len(want))-off))
		if n, err := f.ReadAt(p, off); errors.Is(err, syscall.EIO) && n == 0 {
			failed = append(failed, off)
		} else if err != nil {
			t.Fatal(off, err)
		} else {
			mustEqual(t, "beside the damage", p, want[off:][:len(p)])
		}
	}
	if len(failed) != 1 || failed[0] != bad {
		t.Errorf("failed at %d, the damage is at %d", failed, bad)
	}
	out, err := exec.Command("qemu-img", "convert", "-f", "qcow2", "-O", "raw", filepath.Join(dir, qcow), filepath.Join(t.TempDir(), "copy")).CombinedOutput()
	if err == nil || !strings.Contains(string(out), "Input/output error") {
		t.Errorf("qemu-img: %v\n%s", err, out)
	}
	for range 1000 {
		f.ReadAt(make([]byte, 1), bad)
	}
	report := reported.String()
	for _, part := range []string{raw, qcow, "pack 3f2a: chunk 1: wrong bytes"} {
		if !strings.Contains(report, part) {
			t.Errorf("%q is not in the report:\n%s", part, report)
		}
	}
	if n := strings.Count(report, "\n"); n > reportsPerMinute {
		t.Errorf("reported %d lines", n)
	}

	r.commit("vm/broken", 1, noon, "vdb")
	r.mu.Lock()
	r.disks["vdb"] = nil
	r.mu.Unlock()
	time.Sleep(freshness + freshness/10)
	for _, name := range []string{"vdb.raw", "vdb.qcow2"} {
		if _, err := os.Stat(filepath.Join(dir, "vm/broken/latest/disks", name)); !errors.Is(err, syscall.EIO) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if text, err := os.ReadFile(filepath.Join(dir, "vm/broken/latest/domain.xml")); err != nil {
		t.Errorf("%q, %v", text, err)
	}
}

// TestInterruptedOpen kills a process that waits for a disk. Nobody else notices.
func TestInterruptedOpen(t *testing.T) {
	t.Parallel()
	r := newFakeRepository()
	r.gate = make(chan struct{})
	dir, reported := mount(t, r, Options{})
	cmd := exec.Command("cat", filepath.Join(dir, raw))
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	for r.opens.Load() == 0 {
		time.Sleep(time.Millisecond)
	}
	began := time.Now()
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	cmd.Wait()
	if took := time.Since(began); took > patience+2*time.Second {
		t.Errorf("died after %v", took)
	}
	close(r.gate)
	got, err := os.ReadFile(filepath.Join(dir, raw))
	if err != nil {
		t.Fatal(err)
	}
	mustEqual(t, "raw", got, r.disks["vda"].bytes(t))
	if n := r.opens.Load(); n != 1 {
		t.Errorf("opened %d times", n)
	}
	if reported.String() != "" {
		t.Errorf("reported %s", reported)
	}
}

func TestLease(t *testing.T) {
	t.Parallel()
	r := newFakeRepository()
	s := serve(t, r, t.TempDir(), Options{})
	run(t, "ls", "-l", filepath.Join(s.dir, "vm/win11"))
	if ids, _ := r.pin.state(); len(ids) > 0 {
		t.Errorf("listing pins %q", ids)
	}
	for range 2 {
		if _, err := os.ReadDir(filepath.Join(s.dir, firstSnap)); err != nil {
			t.Error(err)
		}
		if _, err := os.Stat(filepath.Join(s.dir, raw)); err != nil {
			t.Error(err)
		}
	}
	if ids, _ := r.pin.state(); len(ids) != 1 || ids[0] != hexID("vm/win11", 1) {
		t.Errorf("pinned %q", ids)
	}
	r.pin.mu.Lock()
	r.pin.gone = map[string]bool{hexID("vm/win11", 2): true}
	r.pin.mu.Unlock()
	if _, err := os.ReadDir(filepath.Join(s.dir, "vm/win11/2026-11-21T13-00-00Z")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a snapshot that is gone: %v", err)
	}
	if err := s.Unmount(); err != nil {
		t.Fatal(err)
	}
	if _, released := r.pin.state(); !released {
		t.Error("the lease is still held")
	}
	if err := s.Unmount(); err != nil {
		t.Errorf("unmounting again: %v", err)
	}
}

func TestUnmountWhileOpen(t *testing.T) {
	t.Parallel()
	r := newFakeRepository()
	s := serve(t, r, t.TempDir(), Options{})
	f, err := os.Open(filepath.Join(s.dir, raw))
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Unmount(); err == nil || !strings.Contains(err.Error(), s.dir+" is in use: close the files") {
		t.Errorf("unmounting with an open file: %v", err)
	}
	if err := Unmount(s.dir, true); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(s.dir, "vm")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("after a lazy unmount: %v", err)
	}
	p := make([]byte, 100000)
	if _, err := f.ReadAt(p, 77); err != nil {
		t.Error(err)
	}
	mustEqual(t, "open file", p, r.disks["vda"].bytes(t)[77:][:len(p)])
	select {
	case <-s.done:
		t.Error("ended while a file was open")
	default:
	}
	f.Close()
	s.Wait()
}

func TestMountRefusals(t *testing.T) {
	t.Parallel()
	r := newFakeRepository()
	base := t.TempDir()
	for _, dir := range []string{"repo/packs/x", "full", "ok", "with space"} {
		if err := os.MkdirAll(filepath.Join(base, dir), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(base, "full/file"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(filepath.Join(base, "repo"), filepath.Join(base, "link")); err != nil {
		t.Fatal(err)
	}
	mounted, err := Mount(t.Context(), r, filepath.Join(base, "with space"), Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer mounted.Unmount()
	for dir, want := range map[string]string{
		"none":         "does not exist",
		"full/file":    "is not a directory",
		"full":         `is not empty; it holds "file"`,
		"repo/packs/x": "lies inside the repository",
		"link/packs/x": "lies inside the repository",
		"repo":         "lies inside the repository",
		"with space":   "a repository is mounted there already; remove it with: vaultfs umount",
	} {
		s, err := Mount(t.Context(), r, filepath.Join(base, dir), Options{Exclude: filepath.Join(base, "link")})
		if err == nil {
			s.Unmount()
		}
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %s", dir, err, want)
		}
	}
	for dir, want := range map[string]string{"ok": "nothing is mounted on", "/proc": "is of type proc", "none/x": "no such file"} {
		if dir[0] != '/' {
			dir = filepath.Join(base, dir)
		}
		if err := Unmount(dir, false); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("unmounting %s: %v, want %s", dir, err, want)
		}
	}
	r.mu.Lock()
	r.unlisted, r.snapshots = errors.New("no such disk"), nil
	r.mu.Unlock()
	if _, err := Mount(t.Context(), r, filepath.Join(base, "ok"), Options{}); err == nil || !strings.Contains(err.Error(), "no such disk") {
		t.Errorf("a repository that cannot be listed: %v", err)
	}
}

// TestDeadMount is about what a killed process leaves behind.
func TestDeadMount(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	cmd := helper("mount", dir)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if line, err := bufio.NewReader(out).ReadString('\n'); line != "mounted\n" {
		t.Error(line, err)
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	cmd.Wait()
	_, err = Mount(t.Context(), newFakeRepository(), dir, Options{})
	if err == nil || !strings.Contains(err.Error(), "vaultfs umount "+dir) {
		t.Errorf("mounting over it: %v", err)
	}
	if err := Unmount(dir, false); err != nil {
		t.Fatal(err)
	}
	s, err := Mount(t.Context(), newFakeRepository(), dir, Options{})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Unmount(); err != nil {
		t.Fatal(err)
	}
}

// TestKilledWhileMounting kills processes at whatever moment of mounting: they end,
// and what they leave can be unmounted. One that waited for an answer of its own
// would stay for ever.
func TestKilledWhileMounting(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for i := range 15 {
		cmd := helper("mount", dir)
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		for mounted, end := "", time.Now().Add(time.Duration(i)*20*time.Millisecond); mounted == "" && time.Now().Before(end); {
			mounted, _ = mountAt(dir)
		}
		time.Sleep(time.Duration(i%5) * 100 * time.Microsecond)
		if err := cmd.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			cmd.Wait()
		}()
		select {
		case <-ended:
		case <-time.After(20 * time.Second):
			t.Errorf("after SIGKILL in mount %d the process does not end", i)
			unix.Unmount(dir, unix.MNT_FORCE|unix.MNT_DETACH)
			<-ended
			return
		}
		if mounted, err := mountAt(dir); err != nil {
			t.Fatal(err)
		} else if mounted != "" {
			if err := Unmount(dir, false); err != nil {
				t.Fatal(err)
			}
		}
	}
}

func TestErrno(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		err  error
		want syscall.Errno
	}{
		{nil, 0},
		{fmt.Errorf("disk vda: %w", &repo.DamageError{Object: "pack 1", Err: repo.ErrNotFound}), syscall.EIO},
		{fmt.Errorf("snapshot 1: %w", repo.ErrNotFound), syscall.ENOENT},
		{fmt.Errorf("waiting: %w", context.Canceled), syscall.EINTR},
		{errors.New("anything"), syscall.EIO},
	} {
		if got := errno(c.err); got != c.want {
			t.Errorf("%v: %v", c.err, got)
		}
	}
}
