package fusefs

import (
	"bytes"
	"cmp"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"iter"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"

	"golang.org/x/sys/unix"

	"vaultfs/chunk"
	"vaultfs/repo"
)

// keeper is where a test's tree is stored.
type keeper interface {
	put(r io.Reader, size int64, data []repo.Range) (repo.Content, error) // data is nil if there are no holes
	xattr(name string, value []byte) (repo.Xattr, error)
	dir(e *repo.Entry, below []*repo.Entry) error // finishes the entry of a directory
}

// scanner stores a directory as it is.
type scanner struct {
	t     testing.TB
	keep  keeper
	known map[uint64]repo.Content // of files of several names, by inode
}

// scan stores a directory and returns its entry.
func scan(t testing.TB, keep keeper, dir string) *repo.Entry {
	return (&scanner{t, keep, map[uint64]repo.Content{}}).scan(dir, "")
}

// scan returns the entry of a path.
func (s *scanner) scan(path, name string) *repo.Entry {
	s.t.Helper()
	var st unix.Stat_t
	s.ok(unix.Lstat(path, &st))
	e := &repo.Entry{
		Name: name, Mode: st.Mode, UID: st.Uid, GID: st.Gid, Inode: st.Ino, Links: uint32(st.Nlink), Blocks: uint64(st.Blocks),
		Mtime: repo.Timestamp{Sec: st.Mtim.Sec, Nsec: uint32(st.Mtim.Nsec)},
		Ctime: repo.Timestamp{Sec: st.Ctim.Sec, Nsec: uint32(st.Ctim.Nsec)},
	}
	s.xattrs(path, e)
	var err error
	switch st.Mode & unix.S_IFMT {
	case unix.S_IFDIR:
		e.Content.Size = st.Size
		s.dir(path, e)
	case unix.S_IFREG:
		if _, known := s.known[st.Ino]; !known {
			s.known[st.Ino] = s.content(path, st.Size)
		}
		e.Content = s.known[st.Ino]
	case unix.S_IFLNK:
		e.Target, err = os.Readlink(path)
		s.ok(err)
	case unix.S_IFCHR, unix.S_IFBLK:
		e.Rdev = uint64(unix.Major(st.Rdev))<<32 | uint64(unix.Minor(st.Rdev))
	}
	return e
}

func (s *scanner) ok(err error) {
	s.t.Helper()
	if err != nil {
		s.t.Fatal(err)
	}
}

func (s *scanner) dir(path string, e *repo.Entry) {
	f, err := os.Open(path)
	s.ok(err)
	names, err := f.Readdirnames(-1)
	s.ok(err)
	f.Close()
	slices.Sort(names)
	var below []*repo.Entry
	for _, name := range names {
		below = append(below, s.scan(path+"/"+name, name))
	}
	s.ok(s.keep.dir(e, below))
}

func (s *scanner) content(path string, size int64) repo.Content {
	f, err := os.Open(path)
	s.ok(err)
	defer f.Close()
	var data []repo.Range
	var parts []io.Reader
	stored := int64(0)
	for at := int64(0); at < size; {
		begin, err := unix.Seek(int(f.Fd()), at, unix.SEEK_DATA)
		if err == unix.ENXIO {
			break
		}
		s.ok(err)
		end, err := unix.Seek(int(f.Fd()), begin, unix.SEEK_HOLE)
		s.ok(err)
		data, at = append(data, repo.Range{Off: begin, Len: end - begin}), end
		parts, stored = append(parts, io.NewSectionReader(f, begin, end-begin)), stored+end-begin
	}
	if stored == size {
		data = nil
	} else if data == nil {
		data = []repo.Range{}
	}
	c, err := s.keep.put(io.MultiReader(parts...), size, data)
	s.ok(err)
	return c
}

func (s *scanner) xattrs(path string, e *repo.Entry) {
	names, value := make([]byte, 64<<10), make([]byte, 64<<10)
	n, err := unix.Llistxattr(path, names)
	s.ok(err)
	for name := range strings.SplitSeq(strings.TrimRight(string(names[:n]), "\x00"), "\x00") {
		if name == "" {
			continue
		}
		n, err := unix.Lgetxattr(path, name, value)
		s.ok(err)
		x, err := s.keep.xattr(name, bytes.Clone(value[:n]))
		s.ok(err)
		e.Xattrs = append(e.Xattrs, x)
	}
	slices.SortFunc(e.Xattrs, func(a, b repo.Xattr) int { return cmp.Compare(a.Name, b.Name) })
}

// fakeTree is a tree in memory.
type fakeTree struct {
	mu     sync.Mutex
	last   uint64
	dirs   map[chunk.ID][]*repo.Entry
	files  map[chunk.ID]*fakeFile
	values map[chunk.ID][]byte
	root   *repo.Entry
}

func newFakeTree() *fakeTree {
	return &fakeTree{dirs: map[chunk.ID][]*repo.Entry{}, files: map[chunk.ID]*fakeFile{}, values: map[chunk.ID][]byte{}}
}

func (f *fakeTree) id() (id chunk.ID) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.last++
	binary.BigEndian.PutUint64(id[:], f.last)
	return id
}

func (f *fakeTree) put(r io.Reader, size int64, data []repo.Range) (c repo.Content, err error) {
	if size == 0 {
		return c, nil
	}
	b, err := io.ReadAll(r)
	c = repo.Content{Kind: 1, ID: f.id(), Size: size}
	if data != nil {
		c.Ranges = f.id()
	} else {
		data = []repo.Range{{Off: 0, Len: size}}
	}
	f.files[c.ID] = &fakeFile{b, size, data}
	return c, err
}

func (f *fakeTree) xattr(name string, value []byte) (repo.Xattr, error) {
	x := repo.Xattr{Name: name, Value: value, Size: uint32(len(value))}
	if len(value) > 512 {
		x.Value, x.Chunk = nil, f.id()
		f.values[x.Chunk] = value
	}
	return x, nil
}

func (f *fakeTree) dir(e *repo.Entry, below []*repo.Entry) error {
	e.Content.ID = f.id()
	f.dirs[e.Content.ID] = below
	for _, b := range below {
		e.Below.Add(b)
	}
	return nil
}

func (f *fakeTree) Root() *repo.Entry { return f.root }

var errFakeDamage = &repo.DamageError{Object: "pack 3f2a", Err: errors.New("chunk 1: wrong bytes")}

func (f *fakeTree) find(dir *repo.Entry, name string) (int, bool, error) {
	below, ok := f.dirs[dir.Content.ID]
	if !ok {
		return 0, false, errFakeDamage
	}
	i, found := slices.BinarySearchFunc(below, name, func(e *repo.Entry, name string) int { return strings.Compare(e.Name, name) })
	return i, found, nil
}

func (f *fakeTree) Lookup(_ context.Context, dir *repo.Entry, name string) (*repo.Entry, error) {
	i, found, err := f.find(dir, name)
	if err == nil && !found {
		err = fmt.Errorf("%s: %w", name, repo.ErrNotFound)
	}
	if err != nil {
		return nil, err
	}
	return f.dirs[dir.Content.ID][i], nil
}

func (f *fakeTree) Entries(_ context.Context, dir *repo.Entry, after string) iter.Seq2[*repo.Entry, error] {
	return func(yield func(*repo.Entry, error) bool) {
		i, found, err := f.find(dir, after)
		if err != nil {
			yield(nil, err)
			return
		}
		if found {
			i++
		}
		for _, e := range f.dirs[dir.Content.ID][i:] {
			if !yield(e, nil) {
				return
			}
		}
	}
}

func (f *fakeTree) Open(_ context.Context, e *repo.Entry) (File, error) {
	if c := f.files[e.Content.ID]; c != nil {
		return c, nil
	}
	return nil, errFakeDamage
}

func (f *fakeTree) Xattr(_ context.Context, x *repo.Xattr) ([]byte, error) {
	if x.Chunk.IsZero() {
		return x.Value, nil
	}
	return f.values[x.Chunk], nil
}

// fakeFile is a file with holes; bytes are its data one after the other.
type fakeFile struct {
	bytes []byte
	size  int64
	data  []repo.Range
}

func (f *fakeFile) Size() int64 { return f.size }

func (f *fakeFile) ReadAt(p []byte, off int64) (int, error) {
	n := int(min(int64(len(p)), max(f.size-off, 0)))
	clear(p[:n])
	at := int64(0)
	for _, d := range f.data {
		from, to := max(d.Off, off), min(d.Off+d.Len, off+int64(n))
		if from < to {
			copy(p[from-off:to-off], f.bytes[at+from-d.Off:])
		}
		at += d.Len
	}
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

func (f *fakeFile) NextData(off int64) (int64, error) {
	for _, d := range f.data {
		if off < d.Off+d.Len {
			return max(off, d.Off), nil
		}
	}
	return 0, io.EOF
}

func (f *fakeFile) NextHole(off int64) (int64, error) {
	for _, d := range f.data {
		if off >= d.Off && off < d.Off+d.Len {
			off = d.Off + d.Len
		}
	}
	return off, nil
}

func (f *fakeFile) Prefetch(int64, int64) {}

// storing is the keeper of a session.
type storing struct {
	ctx  context.Context
	to   *repo.Session
	file *repo.FileWriter
}

func (s *storing) put(r io.Reader, size int64, data []repo.Range) (repo.Content, error) {
	if data != nil {
		return s.file.PutSparse(s.ctx, r, size, data)
	}
	return s.file.Put(s.ctx, r)
}

func (s *storing) xattr(name string, value []byte) (repo.Xattr, error) {
	return s.file.PutXattr(s.ctx, name, value)
}

func (s *storing) dir(e *repo.Entry, below []*repo.Entry) error {
	w := s.to.NewDir()
	for _, b := range below {
		if err := w.Add(s.ctx, b); err != nil {
			return err
		}
	}
	return w.Finish(s.ctx, e)
}
