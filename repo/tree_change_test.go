package repo_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"
	"vaultfs/chunk"
	"vaultfs/repo"
	"vaultfs/repo/format"
)

// chunks is how many chunks of any kind a repository lists.
func chunks(t testing.TB, r *repo.Repo) int {
	t.Helper()
	return len(repo.ChunkIDs(t.Context(), r))
}

// A tree that did not change stores nothing, and a name that is added to a
// large directory only the few nodes on its way.
func TestChangedTreeStoresWhatChanged(t *testing.T) {
	r := newRepo(t, newStore(t))
	root := manyFiles(100_000)
	first := storeTree(t, r, "tree/a", root)
	stored := chunks(t, r)
	if s := first.Info.Summary; s.Files != 100_000 || s.Dirs != 0 {
		t.Errorf("%d files, %d directories are counted", s.Files, s.Dirs)
	}
	again := storeTree(t, r, "tree/a", root)
	if now := chunks(t, r); now != stored || again.Info.Summary.BytesStored != 0 || again.Items[0].Root != first.Items[0].Root {
		t.Errorf("the same tree stores %d chunks, %d bytes", now-stored, again.Info.Summary.BytesStored)
	}
	for _, name := range []string{"a first", "file-0350000a", "z last"} {
		root.below[name] = fileOf([]byte("content of file 0"))
		snap := storeTree(t, r, "tree/a", root)
		now := chunks(t, r)
		// A node, perhaps two; the one above; the root of the tree.
		if n := now - stored; n < 3 || n > 5 || snap.Info.Summary.ChunksNew != 0 {
			t.Errorf("with %q added: %d chunks are stored", name, n)
		}
		stored = now
	}
	last := mustSnapshots(t, r)
	sameTree(t, r, last[len(last)-1], root)
}

// Lookup, and Entries after any name, agree with all entries in a row.
func TestLookupAndEntriesAgree(t *testing.T) {
	r := newRepo(t, newStore(t))
	for _, n := range []int{0, 1, 10, 5000, 30_000} {
		root := manyFiles(n)
		names := slices.Sorted(maps.Keys(root.below))
		tree, err := r.OpenTree(t.Context(), storeTree(t, r, fmt.Sprint("tree/", n), root).Items[0])
		if err != nil {
			t.Fatal(err)
		}
		step := max(1, n/500)
		for i := 0; i < n; i += step {
			e, err := tree.Lookup(t.Context(), tree.Root(), names[i])
			if err != nil || e.Name != names[i] {
				t.Fatalf("%s: %v", names[i], err)
			}
			for _, absent := range []string{names[i] + "\x01", names[i][:len(names[i])-1], ""} {
				if _, err := tree.Lookup(t.Context(), tree.Root(), absent); !errors.Is(err, repo.ErrNotFound) {
					t.Fatalf("%q: %v", absent, err)
				}
			}
			for after, next := range map[string]int{names[i]: i + 1, names[i] + "\x01": i + 1, names[i][:len(names[i])-1]: slices.IndexFunc(names, func(s string) bool { return s > names[i][:len(names[i])-1] })} {
				got := ""
				for e, err := range tree.Entries(t.Context(), tree.Root(), after) {
					if err != nil {
						t.Fatal(err)
					}
					got = e.Name
					break
				}
				if want := append(names, "")[next]; got != want {
					t.Fatalf("after %q comes %q, want %q", after, got, want)
				}
			}
		}
	}
}

func TestFind(t *testing.T) {
	r := newRepo(t, newStore(t))
	tree, err := r.OpenTree(t.Context(), storeTree(t, r, "tree/a", newTree(1)).Items[0])
	if err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{"": "", "/": "", ".": "", "etc": "etc", "/etc/": "etc", "./etc//hosts": "hosts", "var/link": "link"} {
		if e, err := tree.Find(t.Context(), path); err != nil || e.Name != want {
			t.Errorf("%q: %v", path, err)
		}
	}
	for _, path := range []string{"no", "etc/no", "etc/hosts/", "etc/hosts/x", "var/link/x", "..", "etc/../etc"} {
		if _, err := tree.Find(t.Context(), path); !errors.Is(err, repo.ErrNotFound) || !strings.Contains(err.Error(), path) {
			t.Errorf("%q: %v", path, err)
		}
	}
	hosts, err := tree.Find(t.Context(), "etc/hosts")
	if err != nil {
		t.Fatal(err)
	}
	for _, err := range tree.Entries(t.Context(), hosts, "") {
		if err == nil {
			t.Error("a file has entries")
		}
	}
	if _, err := tree.Open(t.Context(), tree.Root()); err == nil {
		t.Error("a directory is opened as a file")
	}
}

// drawTree draws a tree with names, attributes and contents of any sort.
func drawTree(t *rapid.T, depth int) *node {
	n := &node{}
	e := &n.entry
	kinds := []uint32{format.TypeRegular, format.TypeRegular, format.TypeRegular, format.TypeSymlink, format.TypeFifo, format.TypeSocket, format.TypeBlock}
	if depth > 0 {
		kinds = append(kinds, format.TypeDirectory, format.TypeDirectory, format.TypeDirectory)
	}
	kind := rapid.SampledFrom(kinds).Draw(t, "kind")
	if depth == 5 {
		kind = format.TypeDirectory
	}
	e.Mode = kind | rapid.Uint32Range(0, 0o7777).Draw(t, "permissions")
	e.UID, e.GID, e.Device, e.Links = rapid.Uint32().Draw(t, "owner"), rapid.Uint32().Draw(t, "group"), rapid.Uint32().Draw(t, "device"), rapid.Uint32().Draw(t, "links")
	e.Inode, e.Blocks = rapid.Uint64().Draw(t, "inode"), rapid.Uint64().Draw(t, "blocks")
	second, nano := rapid.Int64(), rapid.Uint32Range(0, 1e9-1)
	e.Mtime = repo.Timestamp{Sec: second.Draw(t, "mtime"), Nsec: nano.Draw(t, "nano")}
	e.Ctime = repo.Timestamp{Sec: second.Draw(t, "ctime"), Nsec: nano.Draw(t, "nano")}
	text := func(limit int) *rapid.Generator[string] {
		return rapid.Custom(func(t *rapid.T) string {
			b := rapid.SliceOfN(rapid.ByteRange(1, 255), 1, limit).Draw(t, "text")
			return strings.ReplaceAll(string(b), "/", "\n")
		}).Filter(func(s string) bool { return s != "." && s != ".." })
	}
	switch kind {
	case format.TypeSymlink:
		e.Target = text(format.MaxTargetLen).Draw(t, "target")
	case format.TypeBlock:
		e.Rdev = rapid.Uint64().Draw(t, "rdev")
	case format.TypeDirectory:
		e.Content.Size = rapid.Int64Range(0, 1<<20).Draw(t, "size")
		n.below = map[string]*node{}
		for _, name := range rapid.SliceOfN(text(format.MaxNameLen), 0, 6).Draw(t, "names") {
			n.below[name] = drawTree(t, depth-1)
		}
	case format.TypeRegular:
		drawContent(t, n)
	}
	for _, name := range rapid.SliceOfN(text(format.MaxXattrName), 0, 2).Draw(t, "xattrs") {
		if n.xattrs == nil {
			n.xattrs = map[string][]byte{}
		}
		n.xattrs[name] = random(1, rapid.SampledFrom([]int{0, 1, 512, 513, format.MaxXattrValue}).Draw(t, "value"))
	}
	return n
}

// drawContent draws the bytes of a file, with holes or without.
func drawContent(t *rapid.T, n *node) {
	size := rapid.SampledFrom([]int{0, 1, 5000, chunk.StreamMin, chunk.StreamMin + 1, 700_000}).Draw(t, "size")
	n.data = random(uint64(size), size)
	if n.sparse = rapid.Bool().Draw(t, "sparse"); !n.sparse {
		return
	}
	n.data = make([]byte, size)
	for at := int64(0); ; {
		off := at + rapid.Int64Range(0, 300_000).Draw(t, "hole")
		length := rapid.Int64Range(1, 300_000).Draw(t, "run")
		if at = off + length; at > int64(size) {
			return
		}
		n.ranges = append(n.ranges, repo.Range{Off: off, Len: length})
		copy(n.data[off:at], random(uint64(off), int(length)))
	}
}

func TestAnyTreeComesBack(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		root := drawTree(rt, 5)
		r := reopen(t, newInit(t))
		defer r.Close()
		snap, err := tryTree(t.Context(), r, "tree/a", root)
		if err != nil {
			rt.Fatal(err)
		}
		tree, err := r.OpenTree(t.Context(), snap.Items[0])
		if err == nil {
			err = root.same(t.Context(), tree, tree.Root())
		}
		if err != nil {
			rt.Fatal(err)
		}
		got, err := r.Verify(t.Context(), repo.VerifyOptions{})
		if err != nil || len(got.Findings) > 0 {
			rt.Fatalf("verify: %+v, %v", got, err)
		}
	})
}

// A deep tree, and one of entries as long as they can be.
func TestExtremeTrees(t *testing.T) {
	deep := dirOf(nil)
	for range 2000 {
		deep = dirOf(map[string]*node{"d": deep})
	}
	long := dirOf(map[string]*node{})
	value := random(1, 512)
	for i := range 12 {
		n := &node{entry: repo.Entry{Mode: format.TypeSymlink | 0o777, Target: strings.Repeat("t", format.MaxTargetLen)}, xattrs: map[string][]byte{}}
		for x := range format.MaxXattrs {
			n.xattrs[fmt.Sprintf("%0*d", format.MaxXattrName, x)] = value
		}
		long.below[fmt.Sprintf("%0*d", format.MaxNameLen, i)] = n
	}
	for name, root := range map[string]*node{"deep": deep, "long": long} {
		t.Run(name, func(t *testing.T) {
			r := newRepo(t, newStore(t))
			sameTree(t, r, storeTree(t, r, "tree/a", root), root)
		})
	}
}

// A tree that is too deep to be walked does not become a snapshot.
func TestTreeThatIsTooDeep(t *testing.T) {
	const depth = 1000 // at full depth the race detector takes minutes to look at the stack
	defer repo.ShallowTrees(depth)()
	r := newRepo(t, newStore(t))
	s, err := r.NewSession(t.Context(), repo.SessionOptions{Source: "tree/a", Kind: "tree"})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Abort(t.Context())
	dir := &repo.Entry{Mode: format.TypeDirectory | 0o755}
	err = s.NewDir().Finish(t.Context(), dir)
	for range depth {
		w := s.NewDir()
		dir.Name = "d"
		err = errors.Join(err, w.Add(t.Context(), dir))
		dir = &repo.Entry{Mode: format.TypeDirectory | 0o755}
		if err = errors.Join(err, w.Finish(t.Context(), dir)); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := s.AddTree(t.Context(), repo.WholeTree, dir); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Commit(t.Context(), repo.Info{}); err == nil || !strings.Contains(err.Error(), "one in the other") {
		t.Errorf("the commit says %v", err)
	}
}

// What cannot be an entry is refused, and the directory goes on without it.
func TestWrongEntriesAreRefused(t *testing.T) {
	r := newRepo(t, newStore(t))
	s, err := r.NewSession(t.Context(), repo.SessionOptions{Source: "tree/a", Kind: "tree"})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Abort(t.Context())
	fifo := repo.Entry{Name: "m", Mode: format.TypeFifo}
	d := s.NewDir()
	if err := d.Add(t.Context(), &fifo); err != nil {
		t.Fatal(err)
	}
	for what, change := range map[string]func(e *repo.Entry){
		"the same name":       func(e *repo.Entry) { e.Name = "m" },
		"a name before":       func(e *repo.Entry) { e.Name = "a" },
		"no name":             func(e *repo.Entry) { e.Name = "" },
		"dot":                 func(e *repo.Entry) { e.Name = "." },
		"dot dot":             func(e *repo.Entry) { e.Name = ".." },
		"a slash":             func(e *repo.Entry) { e.Name = "n/o" },
		"a NUL":               func(e *repo.Entry) { e.Name = "n\x00" },
		"a long name":         func(e *repo.Entry) { e.Name = strings.Repeat("n", 256) },
		"no type":             func(e *repo.Entry) { e.Mode = 0o644 },
		"another type":        func(e *repo.Entry) { e.Mode = 0o050644 },
		"more mode":           func(e *repo.Entry) { e.Mode |= 1 << 20 },
		"a long second":       func(e *repo.Entry) { e.Mtime.Nsec = 1e9 },
		"a target":            func(e *repo.Entry) { e.Target = "x" },
		"a device":            func(e *repo.Entry) { e.Rdev = 1 },
		"a size":              func(e *repo.Entry) { e.Content.Size = 1 },
		"no target":           func(e *repo.Entry) { e.Mode = format.TypeSymlink | 0o777 },
		"a long target":       func(e *repo.Entry) { e.Mode, e.Target = format.TypeSymlink, strings.Repeat("n", 4096) },
		"an open directory":   func(e *repo.Entry) { e.Mode = format.TypeDirectory | 0o755 },
		"a file of nothing":   func(e *repo.Entry) { e.Mode, e.Content.Size = format.TypeRegular, 5 },
		"unsorted xattrs":     func(e *repo.Entry) { e.Xattrs = []repo.Xattr{{Name: "b"}, {Name: "a"}} },
		"an xattr's length":   func(e *repo.Entry) { e.Xattrs = []repo.Xattr{{Name: "b", Size: 5}} },
		"a long inline value": func(e *repo.Entry) { e.Xattrs = []repo.Xattr{{Name: "b", Size: 600, Value: make([]byte, 600)}} },
	} {
		e := fifo
		e.Name = "n"
		if change(&e); d.Add(t.Context(), &e) == nil {
			t.Errorf("%s is taken", what)
		}
	}
	w := s.NewFileWriter()
	for what, ranges := range map[string][]repo.Range{
		"overlap": {{Off: 0, Len: 5}, {Off: 4, Len: 1}}, "beyond": {{Off: 99, Len: 2}}, "empty": {{Off: 5}}, "negative": {{Off: -1, Len: 5}},
	} {
		if _, err := w.PutSparse(t.Context(), strings.NewReader(strings.Repeat("x", 200)), 100, ranges); err == nil {
			t.Errorf("runs of data that %s are taken", what)
		}
	}
	if _, err := w.PutSparse(t.Context(), strings.NewReader("xx"), 100, []repo.Range{{Off: 0, Len: 5}}); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("a file that is too short: %v", err)
	}
	if _, err := w.PutXattr(t.Context(), "user.x", make([]byte, format.MaxXattrValue+1)); err == nil {
		t.Error("an extended attribute that is too long is taken")
	}
	root := repo.Entry{Mode: format.TypeDirectory}
	if err := d.Finish(t.Context(), &root); err != nil || root.Below.Others != 1 {
		t.Errorf("%+v, %v", root, err)
	}
	if _, err := s.AddTree(t.Context(), repo.WholeTree, &repo.Entry{Mode: format.TypeDirectory}); err == nil {
		t.Error("a directory that was not finished is a tree")
	}
}

// A hook that is not content keeps the snapshot from being made. What it reads
// is what was put in.
func TestInspectDecides(t *testing.T) {
	r := newRepo(t, newStore(t))
	refused := errors.New("not to my liking")
	for _, verdict := range []error{refused, nil} {
		var it repo.Item
		called := 0
		s, err := r.NewSession(t.Context(), repo.SessionOptions{Source: "pg/a", Kind: "pg", Inspect: func(ctx context.Context, open func(repo.Item) (*repo.File, error)) error {
			called++
			f, err := open(it)
			if err != nil {
				return err
			}
			if b, err := io.ReadAll(io.NewSectionReader(f, 0, f.Size())); err != nil || string(b) != "a dump" {
				t.Errorf("the hook reads %q (%v)", b, err)
			}
			return verdict
		}})
		if err != nil {
			t.Fatal(err)
		}
		if it, err = s.AddFile(t.Context(), "x.dump", strings.NewReader("a dump")); err != nil {
			t.Fatal(err)
		}
		if _, err = s.Commit(t.Context(), repo.Info{}); !errors.Is(err, verdict) || called != 1 {
			t.Errorf("the commit says %v after %d calls", err, called)
		}
		if err := s.Abort(t.Context()); err != nil {
			t.Fatal(err)
		}
		if n := len(mustSnapshots(t, r)); (n == 1) != (verdict == nil) {
			t.Errorf("%d snapshots after %v", n, verdict)
		}
	}
}

// What was asked for ahead is in memory when it is read, in files of one chunk,
// of many, and with holes.
func TestPrefetchOfFiles(t *testing.T) {
	st := newInit(t)
	r := reopen(t, st)
	defer r.Close()
	data := random(3, 3<<20)
	root := dirOf(map[string]*node{
		"small": fileOf(data[:5000]), "large": fileOf(data),
		"sparse": {entry: fileOf(nil).entry, data: append(make([]byte, 1<<20), random(4, 3<<20)...), sparse: true, ranges: []repo.Range{{Off: 1 << 20, Len: 3 << 20}}},
	})
	tree, err := r.OpenTree(t.Context(), storeTree(t, r, "tree/a", root).Items[0])
	if err != nil {
		t.Fatal(err)
	}
	for name, n := range root.below {
		e, err := tree.Lookup(t.Context(), tree.Root(), name)
		if err != nil {
			t.Fatal(err)
		}
		f, err := tree.Open(t.Context(), e)
		if err != nil {
			t.Fatal(err)
		}
		off := int64(len(n.data) - 4000)
		if repo.InMemory(f, off) {
			t.Errorf("%s is in memory before", name)
		}
		for !repo.InMemory(f, off) {
			f.Prefetch(off-100, 200)
		}
		f.Prefetch(0, 1<<40)
		if err := n.same(t.Context(), tree, e); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}
