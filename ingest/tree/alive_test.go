package tree

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
	"vaultfs/ingest"
	"vaultfs/internal/testtree"
	"vaultfs/repo"
)

// meanwhile does something over and over until the test function is over.
func meanwhile(t testing.TB, do func(round int)) (stop func()) {
	t.Helper()
	end := make(chan struct{})
	var running sync.WaitGroup
	running.Go(func() {
		for i := 0; ; i++ {
			select {
			case <-end:
				return
			default:
				do(i)
			}
		}
	})
	return sync.OnceFunc(func() {
		close(end)
		running.Wait()
	})
}

// onceAt does something when that many bytes have been read.
func onceAt(n int64, do func()) func(int64) {
	once := sync.OnceFunc(do)
	return func(read int64) {
		if read >= n {
			once()
		}
	}
}

func TestAFileThatChangesWhileItIsRead(t *testing.T) {
	dir, r := t.TempDir(), newRepo(t)
	name := filepath.Join(dir, "log")
	ok(t, os.WriteFile(name, testtree.Noise(1, 40<<20), 0o600))
	ok(t, os.WriteFile(filepath.Join(dir, "still"), []byte("still"), 0o600))
	f, err := os.OpenFile(name, os.O_APPEND|os.O_WRONLY, 0)
	ok(t, err)
	defer f.Close()
	stop := meanwhile(t, func(int) {
		_, _ = f.WriteString("another line\n")
		time.Sleep(time.Millisecond)
	})
	defer stop()
	m := ingestOne(t, r, dir, Options{Name: "x"})
	stop()
	if len(m.Warnings) != 1 || !strings.Contains(m.Warnings[0], `/log" changed while it was read`) {
		t.Errorf("warnings: %q", m.Warnings)
	}
	sum := m.Snapshot.Info.Summary
	if sum.FilesUnread != 1 || sum.FilesNew != 2 {
		t.Errorf("%+v", sum)
	}
	got := content(t, openTree(t, r, m.Snapshot), "log")
	whole, err := os.ReadFile(name)
	ok(t, err)
	if len(got) < 40<<20 || !bytes.HasPrefix(whole, got) {
		t.Errorf("of %d bytes that are appended to, %d are kept", len(whole), len(got))
	}
	settle(t)
	compare(t, openTree(t, r, clean(t, r, dir, Options{Name: "x"})), dir)
}

// A file that was changed once is read again, and is whole then.
func TestAFileThatChangesOnceWhileItIsRead(t *testing.T) {
	dir, r := t.TempDir(), newRepo(t)
	name := filepath.Join(dir, "file")
	ok(t, os.WriteFile(name, testtree.Noise(1, 40<<20), 0o600))
	progress := new(ingest.Progress)
	s := clean(t, r, dir, Options{Name: "x", Progress: progress, onRead: onceAt(1<<20, func() {
		if f, err := os.OpenFile(name, os.O_WRONLY, 0); err == nil {
			_, _ = f.WriteAt(testtree.Noise(2, 1<<20), 100)
			_ = f.Close()
		}
	})})
	compare(t, openTree(t, r, s), dir)
	if p := progress; p.Done.Load() != p.Total.Load() || p.Total.Load() != 40<<20 {
		t.Errorf("progress ends at %d of %d", p.Done.Load(), p.Total.Load())
	}
}

func TestWhatVanishesIsLeftOut(t *testing.T) {
	dir, r := t.TempDir(), newRepo(t)
	const n = 4000
	name := func(i int) string { return filepath.Join(dir, fmt.Sprintf("d%02d/%04d", i%40, i)) }
	for i := range n {
		ok(t, os.MkdirAll(filepath.Dir(name(i)), 0o700))
		ok(t, os.WriteFile(name(i), testtree.Noise(byte(i), 10000), 0o600))
	}
	stop := meanwhile(t, func(i int) { _ = os.Remove(name(n - 1 - i%n)) })
	s := clean(t, r, dir, Options{Name: "x"})
	stop()
	if len(s.Info.Notes) == 0 || !strings.Contains(s.Info.Notes[0], "deleted while the tree was read") {
		t.Errorf("notes %q", s.Info.Notes)
	}
	t.Logf("%d of %d files were there; %q", openTree(t, r, s).Root().Below.Files, n, s.Info.Notes)
}

func TestARootThatVanishes(t *testing.T) {
	r := newRepo(t)
	for _, how := range []func(dir string) error{
		os.RemoveAll,
		func(dir string) error { return os.Rename(dir, dir+"2") },
		func(dir string) error { return errors.Join(os.Rename(dir, dir+"3"), os.Mkdir(dir, 0o700)) },
	} {
		dir := filepath.Join(t.TempDir(), "root")
		ok(t, os.Mkdir(dir, 0o700))
		ok(t, os.WriteFile(filepath.Join(dir, "a"), testtree.Noise(1, 10<<20), 0o600))
		var failed error
		made, err := Ingest(t.Context(), r, []string{dir}, Options{Name: "x", onRead: onceAt(1<<20, func() { failed = how(dir) })})
		if !errors.Is(err, ErrGone) || len(made) > 0 {
			t.Errorf("%d snapshots, %v", len(made), err)
		}
		ok(t, failed)
	}
	if all, err := r.Snapshots(t.Context()); err != nil || len(all) > 0 {
		t.Errorf("%d snapshots, %v", len(all), err)
	}
}

// Somebody who can write to the tree puts symbolic links, fifos and devices in
// the place of directories and files, and has what he may not see backed up.
func TestNothingOutsideIsReachedThroughASwap(t *testing.T) {
	top, r := t.TempDir(), newRepo(t)
	secret := filepath.Join(top, "secret")
	ok(t, os.MkdirAll(filepath.Join(secret, "below"), 0o700))
	for _, name := range []string{"file", "below/file"} {
		ok(t, os.WriteFile(filepath.Join(secret, name), []byte("SECRET"), 0o600))
	}
	dir := filepath.Join(top, "tree")
	var swaps [][2]string
	swap := func(name string, other func(path string)) {
		path := filepath.Join(dir, name)
		other(path + "~")
		swaps = append(swaps, [2]string{path, path + "~"})
	}
	for i := range 30 {
		at := fmt.Sprintf("d%02d", i)
		ok(t, os.MkdirAll(filepath.Join(dir, at, "below"), 0o700))
		for _, name := range []string{"file", "below/file", "fifo", "device"} {
			ok(t, os.WriteFile(filepath.Join(dir, at, name), []byte("public"), 0o600))
		}
		swap(at, func(p string) { ok(t, os.Symlink(secret, p)) })
		swap(at+"/below", func(p string) { ok(t, os.Symlink(filepath.Join(secret, "below"), p)) })
		swap(at+"/file", func(p string) { ok(t, os.Symlink(filepath.Join(secret, "file"), p)) })
		swap(at+"/fifo", func(p string) { ok(t, unix.Mkfifo(p, 0o600)) })
		swap(at+"/device", func(p string) { ok(t, unix.Mknod(p, unix.S_IFCHR|0o600, int(unix.Mkdev(1, 5)))) }) // /dev/zero
	}
	stop := meanwhile(t, func(i int) {
		s := swaps[i*7919%len(swaps)]
		_ = unix.Renameat2(unix.AT_FDCWD, s[0], unix.AT_FDCWD, s[1], unix.RENAME_EXCHANGE)
	})
	defer stop()
	for range 15 {
		m := ingestOne(t, r, dir, Options{Name: "x", ForceRead: true})
		tree := openTree(t, r, m.Snapshot)
		for _, path := range allPaths(t, tree) {
			e, err := tree.Find(t.Context(), path)
			ok(t, err)
			if e.IsRegular() && string(content(t, tree, path)) != "public" {
				t.Fatalf("%s holds %q", path, content(t, tree, path))
			}
		}
	}
}

// What cannot be read, here because the disk is gone in the middle, is named.
func TestAFileThatCannotBeRead(t *testing.T) {
	top, r := t.TempDir(), newRepo(t)
	image, dir := filepath.Join(top, "disk"), filepath.Join(top, "mounted")
	ok(t, os.Mkdir(dir, 0o700))
	run(t, "truncate", "-s", "64M", image)
	run(t, "mkfs.ext4", "-q", "-E", "lazy_itable_init=0,root_owner=0:0", image)
	mount := func(options string) { run(t, "mount", "-o", options, image, dir) }
	mount("loop")
	for i := range 5 {
		ok(t, os.WriteFile(filepath.Join(dir, fmt.Sprint("file", i)), testtree.Noise(byte(i), 8<<20), 0o600))
	}
	run(t, "umount", dir)
	mount("loop,ro")
	t.Cleanup(func() { run(t, "umount", dir) })
	for _, args := range [][]string{{"-R", dir}, {"-lR", dir}} { // so that the names and inodes are in memory
		run(t, "ls", args...)
	}
	if out, err := exec.Command("getfattr", "-R", "-d", "-m-", dir).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	ok(t, os.Truncate(image, 40<<20))
	m := ingestOne(t, r, dir, Options{Name: "x"})
	left := openTree(t, r, m.Snapshot).Root().Below.Files
	if left == 0 || left == 5 || m.Snapshot.Info.Summary.FilesUnread != 5-int64(left) {
		t.Fatalf("%d files were read: %+v", left, m.Snapshot.Info.Summary)
	}
	for _, w := range m.Warnings {
		if !strings.Contains(w, "cannot be read (at byte ") || !strings.Contains(w, "input/output error), and is left out") {
			t.Errorf("warning %q", w)
		}
	}
	if len(m.Warnings) != 5-int(left) {
		t.Errorf("%d warnings", len(m.Warnings))
	}
}

// A file of which the size is not what can be read of it is no reason to give up.
func TestAFileThatIsShorterThanItSays(t *testing.T) {
	dir, r := t.TempDir(), newRepo(t)
	name := filepath.Join(dir, "page")
	ok(t, os.WriteFile(name, nil, 0o600))
	ok(t, unix.Mount("/sys/kernel/mm/transparent_hugepage/enabled", name, "", unix.MS_BIND, ""))
	t.Cleanup(func() { ok(t, unix.Unmount(name, 0)) })
	m := ingestOne(t, r, dir, Options{Name: "x"})
	want, err := os.ReadFile(name)
	ok(t, err)
	if got := content(t, openTree(t, r, m.Snapshot), "page"); !bytes.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
	if len(m.Warnings) != 1 {
		t.Errorf("warnings %q", m.Warnings)
	}
}

func TestAnotherHostIsAnotherMachine(t *testing.T) {
	dir, r := t.TempDir(), newRepo(t)
	s, err := r.NewSession(t.Context(), repo.SessionOptions{Source: "tree/etc", Kind: Kind, Machine: "another host"})
	ok(t, err)
	_, err = s.Commit(t.Context(), repo.Info{})
	ok(t, err)
	if _, err := Ingest(t.Context(), r, []string{dir}, Options{Name: "etc"}); !errors.Is(err, repo.ErrSourceTaken) {
		t.Errorf("%v", err)
	}
	clean(t, r, dir, Options{Name: "etc", Adopt: true})
}
