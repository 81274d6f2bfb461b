package store

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"
)

const childEnv = "VAULTFS_STORE_TEST_CHILD"

func TestMain(m *testing.M) {
	if kind := os.Getenv(childEnv); kind != "" {
		child(kind, os.Args[1])
	}
	os.Exit(m.Run())
}

// child opens a lease, has an object half put, says so and waits to be killed.
func child(kind, path string) {
	fs, err := openOS(path)
	if err != nil {
		panic(err)
	}
	d, err := newDir(crippled{fileSystem: fs, noNameless: kind == "named"})
	if err != nil {
		panic(err)
	}
	l, err := d.OpenLease(ctx, "s1", []byte("epoch 1"))
	if err != nil {
		panic(err)
	}
	t, err := d.newTemp("packs/s1")
	if err == nil {
		err = t.write(make([]byte, 1000), 0)
	}
	if err != nil {
		panic(err)
	}
	fmt.Println("ready", l.Held(ctx))
	io.Copy(io.Discard, os.Stdin) // until killed, or its parent dies
	os.Exit(0)
}

func TestKilledProcess(t *testing.T) {
	for _, kind := range []string{"nameless", "named"} {
		t.Run(kind, func(t *testing.T) {
			path := t.TempDir()
			d, err := Create(path)
			must(t, err)
			defer d.Close()
			cmd := exec.Command(os.Args[0], path)
			cmd.Env = append(os.Environ(), childEnv+"="+kind)
			cmd.Stderr = os.Stderr
			out, err := cmd.StdoutPipe()
			must(t, err)
			_, err = cmd.StdinPipe()
			must(t, err)
			must(t, cmd.Start())
			defer cmd.Process.Kill()
			if line, err := bufio.NewReader(out).ReadString('\n'); line != "ready <nil>\n" {
				t.Fatalf("child: %q, %v", line, err)
			}
			if l := lease(t, d, "s1"); l == nil || !l.Alive || string(l.Content) != "epoch 1" {
				t.Fatalf("lease of a living process: %+v", l)
			}
			if n, err := d.CleanTemp(ctx); n != 0 || err != nil {
				t.Fatalf("%d temporaries of a living process removed, %v", n, err)
			}
			must(t, cmd.Process.Kill())
			cmd.Wait()
			if l := lease(t, d, "s1"); l == nil || l.Alive {
				t.Fatalf("lease of a dead process: %+v", l)
			}
			n, err := d.CleanTemp(ctx)
			if want := map[string]int{"nameless": 0, "named": 1}[kind]; n != want || err != nil {
				t.Fatalf("%d temporaries removed, %v", n, err)
			}
			if got := leftovers(t, d, "."); !slices.Equal(got, []string{"sessions/s1"}) {
				t.Fatalf("left: %v", got)
			}
		})
	}
}

// tmpfs mounts 1 MiB of memory, and unmounts it when the test ends.
func tmpfs(t *testing.T) string {
	t.Helper()
	path := t.TempDir()
	if err := unix.Mount("tmpfs", path, "tmpfs", 0, "size=1m"); err != nil {
		t.Fatalf("mount tmpfs (the test needs root): %v", err)
	}
	t.Cleanup(func() { must(t, unix.Unmount(path, unix.MNT_DETACH)) }) // even if a failed test left a file open
	return path
}

func TestFullDisk(t *testing.T) {
	onVariants(t, func(t *testing.T, c crippled) {
		path := tmpfs(t)
		d := openCrippled(t, c, path)
		must(t, d.Put(ctx, "packs/s/a", make([]byte, 500<<10)))
		l, err := d.OpenLease(ctx, "s", nil)
		must(t, err)
		before, total, err := d.Free(ctx)
		if err != nil || total != 1<<20 || before > 524<<10 {
			t.Fatalf("free %d of %d, %v", before, total, err)
		}
		if err := d.Put(ctx, "packs/s/b", make([]byte, 600<<10)); !errors.Is(err, ErrFull) || !errors.Is(err, unix.ENOSPC) {
			t.Fatalf("put: %v", err)
		}
		if after, _, _ := d.Free(ctx); after != before {
			t.Fatalf("free %d before and %d after", before, after)
		}
		if err := l.Commit(ctx, make([]byte, 600<<10), "snapshots/s"); !errors.Is(err, ErrFull) {
			t.Fatalf("commit: %v", err)
		}
		if got := leftovers(t, d, "."); !slices.Equal(got, []string{"packs/s/a"}) {
			t.Fatalf("left: %v", got)
		}
	})
}

func TestReadOnlyDisk(t *testing.T) {
	path := tmpfs(t)
	d, err := OpenDir(path)
	must(t, err)
	must(t, d.Put(ctx, "a", nil))
	must(t, d.Close())
	must(t, unix.Mount("", path, "", unix.MS_REMOUNT|unix.MS_RDONLY, ""))
	d, err = OpenDir(path)
	must(t, err)
	defer d.Close()
	sameContent(t, d, "a", nil)
	_, leaseErr := d.OpenLease(ctx, "s", nil)
	for _, err := range []error{d.Put(ctx, "b", nil), d.Put(ctx, "new/b", nil), d.Delete(ctx, "a"), leaseErr} {
		if !errors.Is(err, ErrReadOnly) {
			t.Error(err)
		}
	}
}

func TestWarnings(t *testing.T) {
	d, err := OpenDir(tmpfs(t))
	must(t, err)
	defer d.Close()
	if w := d.Warnings(); len(w) != 1 || !strings.Contains(w[0], "memory") {
		t.Errorf("tmpfs: %q", w)
	}
	for magic, fs := range map[uint32]string{unix.NFS_SUPER_MAGIC: "NFS", unix.SMB2_SUPER_MAGIC: "SMB", unix.FUSE_SUPER_MAGIC: "FUSE"} {
		if w := warnings(magic); len(w) != 2 || !strings.Contains(w[0], fs) {
			t.Errorf("%s: %q", fs, w)
		}
	}
	if w := warnings(unix.EXT4_SUPER_MAGIC); w != nil {
		t.Errorf("ext4: %q", w)
	}
}

func TestCreate(t *testing.T) {
	path := filepath.Join(t.TempDir(), "store")
	if _, err := OpenDir(path); !errors.Is(err, ErrNotFound) {
		t.Fatalf("open before: %v", err)
	}
	for range 2 { // the second finds an empty directory
		d, err := Create(path)
		must(t, err)
		must(t, d.Close())
	}
	d, err := OpenDir(path)
	must(t, err)
	defer d.Close()
	must(t, d.Put(ctx, "packs/s/a", nil))
	if _, err := Create(path); !errors.Is(err, ErrExists) {
		t.Fatalf("create over a store: %v", err)
	}
	for name, want := range map[string]os.FileMode{"": 0o700, "packs": 0o700, "packs/s": 0o700, "packs/s/a": 0o600} {
		if st, err := os.Stat(filepath.Join(path, name)); err != nil || st.Mode().Perm() != want {
			t.Errorf("%q: %v, %v", name, st.Mode(), err)
		}
	}
}

// No symbolic link is followed, and none passes silently for an empty place.
func TestSymbolicLinks(t *testing.T) {
	outside, path := t.TempDir(), t.TempDir()
	must(t, os.WriteFile(filepath.Join(outside, "a"), []byte("outside"), 0o600))
	d, err := OpenDir(path)
	must(t, err)
	defer d.Close()
	must(t, os.Symlink(outside, filepath.Join(path, "packs")))
	must(t, os.Symlink(filepath.Join(outside, "a"), filepath.Join(path, "config")))
	for _, name := range []string{"packs/a", "config"} {
		_, getErr := d.Get(ctx, name, 100)
		_, sizeErr := d.Size(ctx, name)
		for _, err := range []error{getErr, sizeErr, d.Delete(ctx, name), d.Put(ctx, name, nil)} {
			if err == nil || errors.Is(err, ErrNotFound) {
				t.Errorf("%s: %v", name, err)
			}
		}
	}
	if err := d.Put(ctx, "packs/b", nil); err == nil {
		t.Error("put through a symbolic link")
	}
	for _, prefix := range []string{"", "packs"} {
		if err := d.List(ctx, prefix, func(Info) error { return nil }); err == nil {
			t.Errorf("list %q says nothing of the link", prefix)
		}
	}
	if got, _ := os.ReadDir(outside); len(got) != 1 {
		t.Errorf("outside: %v", got)
	}
}

func TestForeignFilesAreNotObjects(t *testing.T) {
	path := t.TempDir()
	d, err := OpenDir(path)
	must(t, err)
	defer d.Close()
	must(t, d.Put(ctx, "packs/a", nil))
	for _, name := range []string{"packs/.nfs0001", "packs/a~", "README", "lost+found"} {
		must(t, os.WriteFile(filepath.Join(path, name), nil, 0o600))
	}
	must(t, unix.Mkfifo(filepath.Join(path, "fifo"), 0o600))
	if _, err := d.Get(ctx, "fifo", 1); err == nil {
		t.Error("a FIFO was read")
	}
	must(t, os.Remove(filepath.Join(path, "fifo")))
	if got := names(t, d, ""); !slices.Equal(got, []string{"packs/a"}) {
		t.Errorf("list: %v", got)
	}
}

// ext4 says EPERM to O_TMPFILE in a directory that somebody just removed; Put
// makes it again if it hears ENOENT.
func TestNamelessInRemovedDirectory(t *testing.T) {
	path := filepath.Join(t.TempDir(), "gone")
	must(t, os.Mkdir(path, 0o700))
	fs, err := openOS(path)
	must(t, err)
	defer fs.close()
	must(t, os.Remove(path))
	f, err := fs.createNameless(".")
	if err == nil { // other file systems make one
		f.Close()
	} else if !errors.Is(err, unix.ENOENT) {
		t.Fatal(err)
	}
}

// What a cold read does to the page cache, seen with mincore(2). The
// directory must not be in memory, so it is not TMPDIR.
func TestDropCache(t *testing.T) {
	path, err := os.MkdirTemp("/var/tmp", "store")
	must(t, err)
	defer os.RemoveAll(path)
	d, err := OpenDir(path)
	must(t, err)
	defer d.Close()
	const size = 4 << 20
	must(t, d.Put(ctx, "packs/s/a", make([]byte, size)))
	f, err := d.fs.open("packs/s/a", false)
	must(t, err)
	defer f.Close()
	if n := cachedPages(t, f.(*osFile), size); n == 0 {
		t.Fatal("what was just written is not cached")
	}
	must(t, f.dropCache())
	if n := cachedPages(t, f.(*osFile), size); n != 0 {
		t.Fatalf("%d pages are still cached", n)
	}
}

func cachedPages(t *testing.T, f *osFile, size int) int {
	t.Helper()
	m, err := unix.Mmap(int(f.Fd()), 0, size, unix.PROT_READ, unix.MAP_SHARED)
	must(t, err)
	defer unix.Munmap(m)
	resident := make([]byte, size/os.Getpagesize())
	_, _, errno := unix.Syscall(unix.SYS_MINCORE, uintptr(unsafe.Pointer(&m[0])), uintptr(size), uintptr(unsafe.Pointer(&resident[0])))
	if errno != 0 {
		t.Fatal(errno)
	}
	n := 0
	for _, r := range resident {
		n += int(r & 1)
	}
	return n
}
