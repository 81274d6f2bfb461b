package tree_test

import (
	"context"
	"errors"
	"io"
	"os"
	"slices"
	"testing"

	"golang.org/x/sys/unix"
	"vaultfs/internal/testtree"
	"vaultfs/repo"
	"vaultfs/repo/store"
)

// A world is a repository and a place for trees.
type world struct {
	*testing.T
	dir  string
	repo *repo.Repo
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{T: t, dir: t.TempDir()}
	w.must(os.Chmod(w.dir, 0o755))
	w.must(os.Chmod(w.dir+"/..", 0o755))
	st, err := store.Create(w.dir + "/repo")
	w.must(err)
	w.must(repo.Init(t.Context(), st, repo.InitOptions{NoEncryption: true}))
	w.repo, err = repo.Open(t.Context(), st, repo.OpenOptions{})
	w.must(err)
	t.Cleanup(func() {
		w.repo.Close()
		st.Close()
	})
	return w
}

func (w *world) must(err error) {
	w.Helper()
	if err != nil {
		w.Fatal(err)
	}
}

func (w *world) path(name string) string { return w.dir + "/" + name }

// write makes a file, and the time of its last modification so many seconds
// after 1970.
func (w *world) write(name, content string, at int64) {
	w.Helper()
	w.must(os.WriteFile(w.path(name), []byte(content), 0o644))
	w.touch(name, at)
}

func (w *world) touch(name string, at int64) {
	w.Helper()
	times := []unix.Timespec{{Sec: at}, {Sec: at}}
	w.must(unix.UtimesNanoAt(unix.AT_FDCWD, w.path(name), times, unix.AT_SYMLINK_NOFOLLOW))
}

func (w *world) mkdir(name string) {
	w.Helper()
	w.must(os.Mkdir(w.path(name), 0o755))
}

func (w *world) read(name string) string {
	w.Helper()
	b, err := os.ReadFile(w.path(name))
	w.must(err)
	return string(b)
}

// store stores a directory as a snapshot and opens it.
func (w *world) store(name string) *repo.Tree {
	w.Helper()
	s, err := w.repo.NewSession(w.Context(), repo.SessionOptions{Source: "tree/" + name, Kind: "tree"})
	w.must(err)
	defer s.Abort(context.WithoutCancel(w.Context()))
	a := &storer{world: w, session: s, files: s.NewFileWriter(), seen: map[uint64]repo.Content{}}
	root := a.entry(w.path(name), "")
	_, err = s.AddTree(w.Context(), repo.WholeTree, root)
	w.must(err)
	snap, err := s.Commit(w.Context(), repo.Info{})
	w.must(err)
	t, err := w.repo.OpenTree(w.Context(), *snap.Item(repo.WholeTree))
	w.must(err)
	return t
}

// A storer stores a tree in the simplest way.
type storer struct {
	*world
	session *repo.Session
	files   *repo.FileWriter
	seen    map[uint64]repo.Content
}

func (a *storer) entry(path, name string) *repo.Entry {
	var st unix.Stat_t
	a.must(unix.Lstat(path, &st))
	e := &repo.Entry{
		Name: name, Mode: st.Mode, UID: st.Uid, GID: st.Gid, Mtime: repo.Timestamp{Sec: st.Mtim.Sec, Nsec: uint32(st.Mtim.Nsec)},
		Inode: st.Ino, Links: uint32(st.Nlink), Blocks: uint64(st.Blocks),
	}
	switch {
	case e.IsRegular():
		e.Content = a.content(path, &st)
	case e.IsSymlink():
		var err error
		e.Target, err = os.Readlink(path)
		a.must(err)
	case !e.IsDir():
		e.Rdev = uint64(unix.Major(st.Rdev))<<32 | uint64(unix.Minor(st.Rdev))
	}
	xattrs, err := testtree.Xattrs(path)
	a.must(err)
	for name, value := range xattrs {
		x, err := a.files.PutXattr(a.Context(), name, value)
		a.must(err)
		e.Xattrs = append(e.Xattrs, x)
	}
	slices.SortFunc(e.Xattrs, func(a, b repo.Xattr) int {
		if a.Name < b.Name {
			return -1
		}
		return 1
	})
	if e.IsDir() {
		a.directory(path, e)
	}
	return e
}

func (a *storer) directory(path string, e *repo.Entry) {
	entries, err := os.ReadDir(path)
	a.must(err)
	d := a.session.NewDir()
	for _, sub := range entries {
		a.must(d.Add(a.Context(), a.entry(path+"/"+sub.Name(), sub.Name())))
	}
	a.must(d.Finish(a.Context(), e))
}

func (a *storer) content(path string, st *unix.Stat_t) repo.Content {
	if c, ok := a.seen[st.Ino]; ok {
		return c
	}
	f, err := os.Open(path)
	a.must(err)
	defer f.Close()
	var ranges []repo.Range
	var data []io.Reader
	for off := int64(0); off < st.Size; {
		begin, err := unix.Seek(int(f.Fd()), off, unix.SEEK_DATA)
		if errors.Is(err, unix.ENXIO) {
			break
		}
		a.must(err)
		off, err = unix.Seek(int(f.Fd()), begin, unix.SEEK_HOLE)
		a.must(err)
		ranges = append(ranges, repo.Range{Off: begin, Len: off - begin})
		data = append(data, io.NewSectionReader(f, begin, off-begin))
	}
	c, err := a.files.PutSparse(a.Context(), io.MultiReader(data...), st.Size, ranges)
	a.must(err)
	a.seen[st.Ino] = c
	return c
}
