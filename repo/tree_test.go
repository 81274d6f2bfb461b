package repo_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"testing"

	"vaultfs/chunk"
	"vaultfs/repo"
	"vaultfs/repo/format"
	"vaultfs/repo/store"
)

// A node is a file or directory that is to be stored.
type node struct {
	entry  repo.Entry // but name, content and attributes
	data   []byte     // of a regular file
	ranges []repo.Range
	sparse bool
	xattrs map[string][]byte
	below  map[string]*node // of a directory
}

func dirOf(below map[string]*node) *node {
	return &node{entry: repo.Entry{Mode: format.TypeDirectory | 0o755, Mtime: repo.Timestamp{Sec: 7}}, below: below}
}

func fileOf(data []byte) *node {
	return &node{entry: repo.Entry{Mode: format.TypeRegular | 0o644, UID: 1000, Links: 1, Mtime: repo.Timestamp{Sec: 1_790_000_000, Nsec: 5}}, data: data}
}

// store stores a node and what is below it.
func (n *node) store(ctx context.Context, s *repo.Session, w *repo.FileWriter, name string) (e *repo.Entry, err error) {
	e = new(repo.Entry)
	*e = n.entry
	e.Name = name
	for _, name := range slices.Sorted(maps.Keys(n.xattrs)) {
		x, err := w.PutXattr(ctx, name, n.xattrs[name])
		if err != nil {
			return nil, err
		}
		e.Xattrs = append(e.Xattrs, x)
	}
	switch {
	case e.IsDir():
		d := s.NewDir()
		for _, name := range slices.Sorted(maps.Keys(n.below)) {
			child, err := n.below[name].store(ctx, s, w, name)
			if err != nil {
				return nil, err
			}
			if err := d.Add(ctx, child); err != nil {
				return nil, err
			}
		}
		err = d.Finish(ctx, e)
	case e.IsRegular() && n.sparse:
		var runs []io.Reader
		for _, r := range n.ranges {
			runs = append(runs, bytes.NewReader(n.data[r.Off:r.Off+r.Len]))
		}
		e.Content, err = w.PutSparse(ctx, io.MultiReader(runs...), int64(len(n.data)), n.ranges)
	case e.IsRegular():
		e.Content, err = w.Put(ctx, bytes.NewReader(n.data))
	}
	return e, err
}

// totals are what is below a directory.
func (n *node) totals() (t repo.Totals) {
	for _, c := range n.below {
		e := c.entry
		e.Content.Size = int64(len(c.data))
		e.Below = c.totals()
		t.Add(&e)
	}
	return t
}

// same compares what is stored with the node, without the name.
func (n *node) same(ctx context.Context, t *repo.Tree, e *repo.Entry) error {
	want := n.entry
	want.Name, want.Content, want.Xattrs, want.Below = e.Name, e.Content, e.Xattrs, n.totals()
	if got, want := fmt.Sprintf("%+v", *e), fmt.Sprintf("%+v", want); got != want {
		return fmt.Errorf("%s, want %s", got, want)
	}
	if len(e.Xattrs) != len(n.xattrs) {
		return fmt.Errorf("%d extended attributes, want %d", len(e.Xattrs), len(n.xattrs))
	}
	for i := range e.Xattrs {
		v, err := t.Xattr(ctx, &e.Xattrs[i])
		if err != nil {
			return err
		}
		if !bytes.Equal(v, n.xattrs[e.Xattrs[i].Name]) {
			return fmt.Errorf("%s is %x", e.Xattrs[i].Name, v)
		}
	}
	switch {
	case e.IsRegular():
		return n.sameFile(ctx, t, e)
	case e.IsDir():
		return n.sameDir(ctx, t, e)
	}
	return nil
}

func (n *node) sameDir(ctx context.Context, t *repo.Tree, e *repo.Entry) error {
	names := slices.Sorted(maps.Keys(n.below))
	i := 0
	for child, err := range t.Entries(ctx, e, "") {
		if err != nil {
			return err
		}
		if i == len(names) || child.Name != names[i] {
			return fmt.Errorf("entry %d is %q", i, child.Name)
		}
		if err := n.below[child.Name].same(ctx, t, child); err != nil {
			return fmt.Errorf("%s: %w", child.Name, err)
		}
		i++
	}
	if i != len(names) {
		return fmt.Errorf("%d entries, want %d", i, len(names))
	}
	return nil
}

func (n *node) sameFile(ctx context.Context, t *repo.Tree, e *repo.Entry) error {
	f, err := t.Open(ctx, e)
	if err != nil {
		return err
	}
	if f.Size() != int64(len(n.data)) {
		return fmt.Errorf("%d bytes, want %d", f.Size(), len(n.data))
	}
	got, err := io.ReadAll(io.NewSectionReader(f, 0, f.Size()))
	if err != nil {
		return err
	}
	if !bytes.Equal(got, n.data) {
		return errors.New("other bytes come back")
	}
	if !n.sparse {
		return nil
	}
	var ranges []repo.Range
	allocated := int64(0)
	for off := int64(0); ; {
		begin, err := f.NextData(off)
		if err == io.EOF {
			break
		} else if err != nil {
			return err
		}
		if off, err = f.NextHole(begin); err != nil {
			return err
		}
		ranges = append(ranges, repo.Range{Off: begin, Len: off - begin})
		allocated += off - begin
	}
	if joined, _, _ := format.JoinRanges(n.ranges, f.Size()); !slices.Equal(ranges, joined) || f.Allocated() != allocated {
		return fmt.Errorf("data at %v, want %v; %d bytes", ranges, joined, f.Allocated())
	}
	return nil
}

// storeTree commits a tree as a snapshot of a source.
func storeTree(t testing.TB, r *repo.Repo, source string, root *node) *repo.Snapshot {
	t.Helper()
	s, err := tryTree(t.Context(), r, source, root)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func tryTree(ctx context.Context, r *repo.Repo, source string, root *node) (*repo.Snapshot, error) {
	s, err := r.NewSession(ctx, repo.SessionOptions{Source: source, Kind: "tree", Verify: true})
	if err != nil {
		return nil, err
	}
	defer s.Abort(ctx)
	e, err := root.store(ctx, s, s.NewFileWriter(), "")
	if err != nil {
		return nil, err
	}
	if _, err := s.AddTree(ctx, repo.WholeTree, e); err != nil {
		return nil, err
	}
	return s.Commit(ctx, repo.Info{Program: "test"})
}

// sameTree demands that a snapshot holds the tree.
func sameTree(t testing.TB, r *repo.Repo, s *repo.Snapshot, root *node) {
	t.Helper()
	tree, err := r.OpenTree(t.Context(), *s.Item(repo.WholeTree))
	if err == nil {
		err = root.same(t.Context(), tree, tree.Root())
	}
	if err != nil {
		t.Fatal(err)
	}
}

// newTree draws a tree with a little of everything; two of one seed are equal.
func newTree(seed uint64) *node {
	hole := append(make([]byte, 70<<10), random(seed, 9000)...)
	hole = append(hole, make([]byte, 50<<10)...)
	long := fileOf(random(seed+1, 20<<10))
	long.xattrs = map[string][]byte{"user.long": random(seed+2, 900), "user.short": []byte("x"), "user.none": nil}
	return dirOf(map[string]*node{
		"etc": dirOf(map[string]*node{"hosts": fileOf(random(seed+3, 100)), "empty": fileOf(nil), "none": dirOf(nil)}),
		"var": dirOf(map[string]*node{
			"long":   long,
			"same":   fileOf(random(seed+3, 100)),
			"sparse": {entry: fileOf(nil).entry, data: hole, sparse: true, ranges: []repo.Range{{Off: 70 << 10, Len: 9000}}},
			"hole":   {entry: fileOf(nil).entry, data: make([]byte, 5000), sparse: true},
			"link":   {entry: repo.Entry{Mode: format.TypeSymlink | 0o777, Target: "../etc/hosts"}},
			"null":   {entry: repo.Entry{Mode: format.TypeChar | 0o666, Rdev: 1<<32 | 3}},
		}),
	})
}

// manyFiles is a directory of that many small files.
func manyFiles(n int) *node {
	below := make(map[string]*node, n)
	for i := range n {
		below[fmt.Sprintf("file-%07d", i*7)] = fileOf(fmt.Appendf(nil, "content of file %d", i%1000))
	}
	return dirOf(below)
}

func TestTreeComesBackAsItWentIn(t *testing.T) {
	noisy := random(1, 3<<20)
	for name, root := range map[string]*node{
		"empty":    dirOf(nil),
		"one":      manyFiles(1),
		"ten":      manyFiles(10),
		"thousand": manyFiles(5000),
		"sizes": dirOf(map[string]*node{
			"empty": fileOf(nil), "byte": fileOf(noisy[:1]), "min": fileOf(noisy[:chunk.StreamMin]), "above": fileOf(noisy[:chunk.StreamMin+1]), "large": fileOf(noisy),
			"zeros": fileOf(make([]byte, 9<<20)),
		}),
	} {
		t.Run(name, func(t *testing.T) {
			r := newRepo(t, newStore(t))
			s := storeTree(t, r, "tree/a", root)
			sameTree(t, r, s, root)
		})
	}
}

// newInit is a store with a repository.
func newInit(t testing.TB) *store.Dir {
	t.Helper()
	st := memStore(t, store.NewMem())
	initRepo(t, st)
	return st
}
