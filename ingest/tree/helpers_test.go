package tree

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"go.uber.org/goleak"
	"golang.org/x/sys/unix"
	"vaultfs/repo"
	"vaultfs/repo/seal"
	"vaultfs/repo/store"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// newRepo makes a repository that verifies itself when the test is over.
func newRepo(t testing.TB) *repo.Repo {
	t.Helper()
	r, _ := newRepoIn(t, filepath.Join(t.TempDir(), "repo"))
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

func newRepoIn(t testing.TB, dir string) (*repo.Repo, string) {
	t.Helper()
	st, err := store.Create(dir)
	ok(t, err)
	password := []byte("secret")
	ok(t, repo.Init(t.Context(), st, repo.InitOptions{Password: password, Cost: seal.KDF{Memory: 64, Time: 1, Threads: 1}}))
	r, err := repo.Open(t.Context(), st, repo.OpenOptions{Password: password, Warn: func(s string) { t.Log(s) }})
	ok(t, err)
	t.Cleanup(func() {
		r.Close()
		st.Close()
	})
	return r, dir
}

func ok(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// ingestOne backs up one directory, which must succeed.
func ingestOne(t testing.TB, r *repo.Repo, dir string, o Options) Made {
	t.Helper()
	made, err := Ingest(t.Context(), r, []string{dir}, o)
	ok(t, err)
	if len(made) != 1 {
		t.Fatalf("%d snapshots of %s", len(made), dir)
	}
	return made[0]
}

// clean is ingestOne without a warning.
func clean(t testing.TB, r *repo.Repo, dir string, o Options) *repo.Snapshot {
	t.Helper()
	m := ingestOne(t, r, dir, o)
	if len(m.Warnings) > 0 {
		t.Errorf("warnings: %q", m.Warnings)
	}
	return m.Snapshot
}

func openTree(t testing.TB, r *repo.Repo, s *repo.Snapshot) *repo.Tree {
	t.Helper()
	tree, err := r.OpenTree(t.Context(), *s.Item(repo.WholeTree))
	ok(t, err)
	return tree
}

// allPaths are the paths in a tree, those of directories with a slash at the end.
func allPaths(t testing.TB, tree *repo.Tree) (all []string) {
	t.Helper()
	var below func(dir *repo.Entry, at string)
	below = func(dir *repo.Entry, at string) {
		for e, err := range tree.Entries(t.Context(), dir, "") {
			ok(t, err)
			if !e.IsDir() {
				all = append(all, at+e.Name)
				continue
			}
			all = append(all, at+e.Name+"/")
			below(e, at+e.Name+"/")
		}
	}
	below(tree.Root(), "")
	return all
}

func content(t testing.TB, tree *repo.Tree, path string) []byte {
	t.Helper()
	e, err := tree.Find(t.Context(), path)
	ok(t, err)
	f, err := tree.Open(t.Context(), e)
	ok(t, err)
	b := make([]byte, e.Content.Size)
	n, err := f.ReadAt(b, 0)
	if err != nil && !errors.Is(err, io.EOF) || n != len(b) {
		t.Fatalf("%s: %d of %d bytes: %v", path, n, len(b), err)
	}
	return b
}

// A comparison holds a stored tree against the directory that it is of.
type comparison struct {
	t      testing.TB
	tree   *repo.Tree
	links  map[string]string // device and inode stored → those of the source
	inodes map[string]string // and back
	count  int
}

// compare demands that a stored tree is a directory in everything that can be
// seen of that.
func compare(t testing.TB, tree *repo.Tree, dir string) {
	t.Helper()
	c := comparison{t, tree, map[string]string{}, map[string]string{}, 0}
	c.entry(tree.Root(), dir)
	b := tree.Root().Below
	if total := b.Files + b.Dirs + b.Others; int(total) != c.count-1 {
		t.Errorf("%d entries are counted, there are %d", total, c.count-1)
	}
}

func (c *comparison) entry(e *repo.Entry, path string) {
	c.t.Helper()
	c.count++
	var st unix.Stat_t
	ok(c.t, unix.Lstat(path, &st))
	got := fmt.Sprintf("%o %d:%d %d %v %v %d %d", e.Mode, e.UID, e.GID, e.Links, e.Mtime, e.Ctime, e.Blocks, e.Rdev)
	want := fmt.Sprintf("%o %d:%d %d %v %v %d %d", st.Mode, st.Uid, st.Gid, st.Nlink,
		repo.Timestamp{Sec: st.Mtim.Sec, Nsec: uint32(st.Mtim.Nsec)}, repo.Timestamp{Sec: st.Ctim.Sec, Nsec: uint32(st.Ctim.Nsec)}, st.Blocks, rdev(&st))
	if got != want {
		c.t.Errorf("%q is %s, want %s", path, got, want)
	}
	c.link(e, &st, path)
	c.xattrs(e, path)
	switch {
	case e.IsDir():
		c.directory(e, path)
	case e.IsRegular():
		c.file(e, path)
	case e.IsSymlink():
		target, err := os.Readlink(path)
		ok(c.t, err)
		if e.Target != target {
			c.t.Errorf("%q points to %q, want %q", path, e.Target, target)
		}
	}
}

func rdev(st *unix.Stat_t) uint64 {
	if k := st.Mode & unix.S_IFMT; k != unix.S_IFCHR && k != unix.S_IFBLK {
		return 0
	}
	return uint64(unix.Major(st.Rdev))<<32 | uint64(unix.Minor(st.Rdev))
}

// link demands that names belong together as they do in the source.
func (c *comparison) link(e *repo.Entry, st *unix.Stat_t, path string) {
	stored, source := fmt.Sprint(e.Device, e.Inode), fmt.Sprint(st.Dev, st.Ino)
	if was, seen := c.links[stored]; seen && was != source {
		c.t.Errorf("%q has the inode of another file", path)
	}
	if was, seen := c.inodes[source]; seen && was != stored {
		c.t.Errorf("%q is no longer the same file as another", path)
	}
	c.links[stored], c.inodes[source] = source, stored
}

func (c *comparison) xattrs(e *repo.Entry, path string) {
	c.t.Helper()
	var got []string
	for i := range e.Xattrs {
		v, err := c.tree.Xattr(c.t.Context(), &e.Xattrs[i])
		ok(c.t, err)
		got = append(got, fmt.Sprintf("%s=%x", e.Xattrs[i].Name, v))
	}
	buf := make([]byte, 64<<10)
	n, err := unix.Llistxattr(path, buf)
	ok(c.t, err)
	var want []string
	for name := range strings.SplitSeq(strings.TrimSuffix(string(buf[:n]), "\x00"), "\x00") {
		if name == "" {
			continue
		}
		v := make([]byte, 64<<10)
		n, err := unix.Lgetxattr(path, name, v)
		ok(c.t, err)
		want = append(want, fmt.Sprintf("%s=%x", name, v[:n]))
	}
	slices.Sort(want)
	slices.Sort(got)
	if !slices.Equal(got, want) {
		c.t.Errorf("%q has the attributes %.200q, want %.200q", path, got, want)
	}
}

func (c *comparison) directory(e *repo.Entry, path string) {
	c.t.Helper()
	var got, want []string
	for below, err := range c.tree.Entries(c.t.Context(), e, "") {
		ok(c.t, err)
		got = append(got, below.Name)
		c.entry(below, path+"/"+below.Name)
	}
	list, err := os.ReadDir(path)
	ok(c.t, err)
	for _, one := range list {
		want = append(want, one.Name())
	}
	slices.Sort(want)
	if !slices.Equal(got, want) {
		c.t.Errorf("%q holds %q, want %q", path, got, want)
	}
}

// file compares contents, and where they are holes. A file of holes may be
// larger than memory: only what is data on one side is read.
func (c *comparison) file(e *repo.Entry, path string) {
	c.t.Helper()
	f, err := os.Open(path)
	ok(c.t, err)
	defer f.Close()
	info, err := f.Stat()
	ok(c.t, err)
	stored, err := c.tree.Open(c.t.Context(), e)
	ok(c.t, err)
	if stored.Size() != info.Size() {
		c.t.Errorf("%q has %d bytes, want %d", path, stored.Size(), info.Size())
		return
	}
	want, _, err := dataRanges(int(f.Fd()), info.Size(), repo.MaxRanges)
	ok(c.t, err)
	var st unix.Stat_t
	ok(c.t, unix.Fstat(int(f.Fd()), &st))
	if got := storedRanges(c.t, stored); mayHaveHoles(&st) && !slices.Equal(got, want) {
		c.t.Errorf("%q has data at %.300v, want %.300v", path, got, want)
	}
	for _, r := range want {
		a, b := make([]byte, r.Len), make([]byte, r.Len)
		_, err := f.ReadAt(a, r.Off)
		ok(c.t, err)
		if _, err := stored.ReadAt(b, r.Off); err != nil && !errors.Is(err, io.EOF) {
			c.t.Fatalf("%q: %v", path, err)
		}
		if !bytes.Equal(a, b) {
			c.t.Errorf("%q differs in %d bytes at %d", path, r.Len, r.Off)
		}
	}
}

func storedRanges(t testing.TB, f *repo.File) (ranges []repo.Range) {
	t.Helper()
	for off := int64(0); off < f.Size(); {
		from, err := f.NextData(off)
		if errors.Is(err, io.EOF) {
			break
		}
		ok(t, err)
		to, err := f.NextHole(from)
		ok(t, err)
		ranges = append(ranges, repo.Range{Off: from, Len: to - from})
		off = to
	}
	return ranges
}
