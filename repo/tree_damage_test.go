package repo_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"vaultfs/repo"
	"vaultfs/repo/format"
	"vaultfs/repo/store"
)

// tinyTree is a repository in which every chunk of a tree lies in a pack of its
// own.
func tinyTree(t *testing.T, root *node) (*store.Dir, *repo.Repo, *repo.Tree) {
	t.Helper()
	defer repo.SmallPacks()()
	defer repo.TinyPacks()()
	st := newInit(t)
	r := reopen(t, st)
	t.Cleanup(func() { r.Close() })
	tree, err := r.OpenTree(t.Context(), storeTree(t, r, "tree/a", root).Items[0])
	if err != nil {
		t.Fatal(err)
	}
	return st, r, tree
}

// damagedTree has files and directories at two depths.
func damagedTree() *node {
	attributes := fileOf([]byte("attributes"))
	attributes.xattrs = map[string][]byte{"user.long": random(9, 900)}
	return dirOf(map[string]*node{
		"a": dirOf(map[string]*node{
			"b":          dirOf(map[string]*node{"one": fileOf([]byte("one")), "two": fileOf([]byte("two")), "also two": fileOf([]byte("two"))}),
			"large":      fileOf(random(1, 9<<20)),
			"attributes": attributes,
			"sparse":     {entry: fileOf(nil).entry, data: append(make([]byte, 5000), "end"...), sparse: true, ranges: []repo.Range{{Off: 5000, Len: 3}}},
		}),
		"many": manyFiles(3000),
	})
}

// What is lost is named: the object, the files, how many there are and how many
// bytes; and what the tree's own walk misses is what a walk misses that knows
// child lists only.
func TestLostFilesOfATreeAreNamed(t *testing.T) {
	st, r, tree := tinyTree(t, damagedTree())
	entry := func(path string) *repo.Entry {
		t.Helper()
		e, err := tree.Find(t.Context(), path)
		if err != nil {
			t.Fatal(err)
		}
		return e
	}
	dir, large, many := entry("a/b"), entry("a/large"), entry("many")
	for what, c := range map[string]struct {
		object string
		touch  repo.Touch
	}{
		"a small file":         {repo.PackOf(r, entry("a/b/one").Content.ID), repo.Touch{Bytes: 3, Files: 1, Paths: []string{"a/b/one"}}},
		"one of two names":     {repo.PackOf(r, entry("a/b/two").Content.ID), repo.Touch{Bytes: 6, Files: 2, Paths: []string{"a/b/also two", "a/b/two"}}},
		"a directory":          {repo.PackOf(r, dir.Content.ID), repo.Touch{Bytes: 9, Files: 3, Paths: []string{"a/b/"}}},
		"the root":             {repo.PackOf(r, tree.Root().Content.ID), repo.Touch{Bytes: int64(tree.Root().Below.Bytes), Files: 3006, Paths: []string{"."}}},
		"a stream's node":      {repo.PackOf(r, large.Content.ID), repo.Touch{Bytes: 9 << 20, Files: 1, Paths: []string{"a/large"}}},
		"the runs of data":     {repo.PackOf(r, entry("a/sparse").Content.Ranges), repo.Touch{Bytes: 5003, Files: 1, Paths: []string{"a/sparse"}}},
		"the data of a sparse": {repo.PackOf(r, entry("a/sparse").Content.ID), repo.Touch{Bytes: 3, Files: 1, Paths: []string{"a/sparse"}}},
		"an attribute":         {repo.PackOf(r, entry("a/attributes").Xattrs[0].Chunk), repo.Touch{Bytes: 900, Files: 1, Paths: []string{"a/attributes"}}},
		"a large directory":    {repo.PackOf(r, many.Content.ID), repo.Touch{Bytes: int64(many.Below.Bytes), Files: 3000, Paths: []string{"many/"}}},
		"files of a thousand":  {repo.PackOf(r, entry("many/file-0000000").Content.ID), repo.Touch{Bytes: 3 * 17, Files: 3, Paths: []string{"many/file-0000000", "many/file-0007000", "many/file-0014000"}}},
		"a node of several":    {repo.PackOf(r, repo.DirNodes(t.Context(), r, many)[0]), repo.Touch{Files: -1, Paths: []string{"many/"}}},
	} {
		t.Run(what, func(t *testing.T) {
			b, err := st.Get(t.Context(), c.object, 1<<30)
			if err != nil {
				t.Fatal(err)
			}
			if err := st.Delete(t.Context(), c.object); err != nil {
				t.Fatal(err)
			}
			defer func() {
				if err := st.Put(t.Context(), c.object, b); err != nil {
					t.Fatal(err)
				}
			}()
			got, err := r.Verify(t.Context(), repo.VerifyOptions{})
			if err != nil || len(got.Findings) != 1 || got.Findings[0].Object != label(c.object) || len(got.Findings[0].Touches) != 1 {
				t.Fatalf("verify: %+v, %v", got, err)
			}
			touch := got.Findings[0].Touches[0]
			if c.touch.Files < 0 && touch.Files > 100 && touch.Files < 3000 && touch.Bytes > 1000 { // a part, of a size that the names decide
				c.touch.Files, c.touch.Bytes = touch.Files, touch.Bytes
			}
			if touch.Files != c.touch.Files || touch.Bytes != c.touch.Bytes || !slices.Equal(touch.Paths, c.touch.Paths) {
				t.Errorf("lost are %d files, %d bytes, of %q; want %+v", touch.Files, touch.Bytes, touch.Paths, c.touch)
			}
			snap := mustSnapshots(t, r)[0]
			own, err := repo.LostOf(t.Context(), r, snap.Items[0], false)
			generic, err2 := repo.LostOf(t.Context(), r, snap.Items[0], true)
			if err = errors.Join(err, err2); err != nil || !slices.Equal(own, generic) || !slices.Equal(own, []string{label(c.object)}) {
				t.Errorf("a walk of the tree misses %v, one of the child lists %v (%v)", own, generic, err)
			}
		})
	}
}

// A damaged node of a directory is an error of those who read it, and nobody
// else.
func TestDamagedDirectoryIsAnError(t *testing.T) {
	st, r, tree := tinyTree(t, damagedTree())
	dir, err := tree.Find(t.Context(), "a/b")
	if err != nil {
		t.Fatal(err)
	}
	object := repo.PackOf(r, dir.Content.ID)
	b, err := st.Get(t.Context(), object, 1<<30)
	if err == nil {
		err = st.Delete(t.Context(), object)
	}
	if err == nil {
		err = st.Put(t.Context(), object, flipped(b, 80, 1))
	}
	if err != nil {
		t.Fatal(err)
	}
	fresh := reopen(t, st)
	defer fresh.Close()
	if tree, err = fresh.OpenTree(t.Context(), mustSnapshots(t, fresh)[0].Items[0]); err != nil {
		t.Fatal(err)
	}
	damaged := func(what string, err error) {
		t.Helper()
		if !errors.Is(err, repo.ErrDamaged) || !strings.Contains(err.Error(), label(object)) {
			t.Errorf("%s: %v", what, err)
		}
	}
	_, err = tree.Find(t.Context(), "a/b/one")
	damaged("find", err)
	_, err = tree.Lookup(t.Context(), dir, "one")
	damaged("lookup", err)
	given := 0
	for _, err := range tree.Entries(t.Context(), dir, "") {
		damaged("entries", err)
		given++
	}
	if given != 1 {
		t.Errorf("%d entries are given", given)
	}
	if _, err := tree.Find(t.Context(), "a/large"); err != nil {
		t.Error(err)
	}
	// The next backup stores the node again, and the one before is whole.
	again := storeTree(t, fresh, "tree/a", damagedTree())
	sameTree(t, fresh, again, damagedTree())
	sameTree(t, reopen(t, st), mustSnapshots(t, fresh)[0], damagedTree())
}

// Holds is true of what is there, and false of what lost a chunk, whichever.
func TestHoldsOfWhatIsThere(t *testing.T) {
	st, r, tree := tinyTree(t, damagedTree())
	paths := []string{"", "a", "a/b", "a/b/one", "a/b/two", "a/large", "a/sparse", "a/attributes", "many"}
	holds := func() (held []string) {
		t.Helper()
		fresh := reopen(t, st)
		defer fresh.Close()
		s, err := fresh.NewSession(t.Context(), repo.SessionOptions{Source: "tree/a", Kind: "tree"})
		if err != nil {
			t.Fatal(err)
		}
		defer s.Abort(t.Context())
		tree, err := fresh.OpenTree(t.Context(), s.Previous().Items[0])
		if err != nil {
			t.Fatal(err)
		}
		for _, path := range paths {
			e, err := tree.Find(t.Context(), path)
			if err != nil {
				t.Fatal(err)
			}
			ok := s.Holds(t.Context(), e.Content)
			for _, x := range e.Xattrs {
				ok = ok && s.HoldsXattr(t.Context(), &x)
			}
			if ok {
				held = append(held, path)
			}
		}
		return held
	}
	if held := holds(); !slices.Equal(held, paths) {
		t.Fatalf("held are %q", held)
	}
	chunk := func(path string, pick func(*repo.Entry) string) string {
		e, err := tree.Find(t.Context(), path)
		if err != nil {
			t.Fatal(err)
		}
		return pick(e)
	}
	content := func(e *repo.Entry) string { return repo.PackOf(r, e.Content.ID) }
	for lost, object := range map[string]string{
		"a/b/one": chunk("a/b/one", content), "a/large": chunk("a/large", content),
		"a/sparse":     chunk("a/sparse", func(e *repo.Entry) string { return repo.PackOf(r, e.Content.Ranges) }),
		"a/attributes": chunk("a/attributes", func(e *repo.Entry) string { return repo.PackOf(r, e.Xattrs[0].Chunk) }),
		"many":         repo.PackOf(r, repo.DirNodes(t.Context(), r, mustFind(t, tree, "many"))[0]),
	} {
		b, err := st.Get(t.Context(), object, 1<<30)
		if err == nil {
			err = st.Delete(t.Context(), object)
		}
		if err != nil {
			t.Fatal(err)
		}
		want := slices.DeleteFunc(slices.Clone(paths), func(p string) bool { return strings.HasPrefix(lost+"/", p+"/") || p == "" })
		if held := holds(); fmt.Sprint(held) != fmt.Sprint(want) {
			t.Errorf("with a chunk of %s lost, held are %q, want %q", lost, held, want)
		}
		if err := st.Put(t.Context(), object, b); err != nil {
			t.Fatal(err)
		}
	}
}

func mustFind(t *testing.T, tree *repo.Tree, path string) *repo.Entry {
	t.Helper()
	e, err := tree.Find(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	return e
}

// Directories are trees of nodes: this is a premise of the tests above.
func TestLargeDirectoryHasNodes(t *testing.T) {
	_, r, tree := tinyTree(t, damagedTree())
	many := mustFind(t, tree, "many")
	nodes := repo.DirNodes(t.Context(), r, many)
	if len(nodes) < 3 || len(nodes) > 20 || many.Content.Kind != format.DirContent {
		t.Errorf("%d nodes below the highest", len(nodes))
	}
}
