package fusefs

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"vaultfs/internal/testtree"
	"vaultfs/repo"
)

// commitTree adds a snapshot that is a tree and nothing else.
func (r *fakeRepository) commitTree(source string, tree *fakeTree) {
	s := &repo.Snapshot{ID: hexID(source, 1), Source: source, Kind: "tree", Seq: 1, Time: noon,
		Items: []repo.Item{{Name: repo.WholeTree, Kind: repo.ItemTree, Root: tree.root.Content.ID}}}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.snapshots = append(r.snapshots, s)
	if r.trees == nil {
		r.trees = map[string]*fakeTree{}
	}
	r.trees[s.Items[0].Root.String()] = tree
}

func scanFake(t testing.TB, dir string) *fakeTree {
	f := newFakeTree()
	f.root = scan(t, f, dir)
	return f
}

func TestNastyTree(t *testing.T) {
	t.Parallel()
	source := filepath.Join(t.TempDir(), "nasty")
	testtree.Make(t, source)
	unix.Sync() // what is not written yet has other blocks
	r := &fakeRepository{}
	r.commitTree("tree/nasty", scanFake(t, source))
	for name, o := range map[string]Options{"mine": {}, "for others": {AllowOther: true}} {
		t.Run(name, func(t *testing.T) {
			dir, reported := mount(t, r, o)
			testtree.Same(t, source, filepath.Join(dir, "tree/nasty", stamp(noon)))
			if reported.String() != "" {
				t.Errorf("reported %s", reported)
			}
		})
	}
}

// TestStoredTree is about a tree in a repository, as it is made of two
// directories: a snapshot of the kind of a container.
func TestStoredTree(t *testing.T) {
	t.Parallel()
	source := filepath.Join(t.TempDir(), "nasty")
	testtree.Make(t, source)
	unix.Sync() // what is not written yet has other blocks
	r, _ := newRealRepository(t)
	commitTree(t, r, "vzdump/101", "rootfs", source, "pct.conf")
	commitTree(t, r, "tree/nasty", repo.WholeTree, source)
	dir, reported := mount(t, FromRepo(r), Options{})
	testtree.Same(t, source, filepath.Join(dir, "vzdump/101", stamp(noon), "rootfs"))
	testtree.Same(t, source, filepath.Join(dir, "tree/nasty", stamp(noon)))
	if text, err := os.ReadFile(filepath.Join(dir, "vzdump/101/latest/pct.conf")); err != nil || string(text) != fileContent("pct.conf") {
		t.Errorf("%q, %v", text, err)
	}
	if reported.String() != "" {
		t.Errorf("reported %s", reported)
	}
}

// commitTree stores a directory as a tree, and some files.
func commitTree(t testing.TB, r *repo.Repo, source, name, dir string, files ...string) {
	t.Helper()
	ctx := t.Context()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	s, err := r.NewSession(ctx, repo.SessionOptions{Source: source, Kind: "tree", Time: noon})
	must(err)
	defer s.Abort(context.WithoutCancel(ctx))
	_, err = s.AddTree(ctx, name, scan(t, &storing{ctx, s, s.NewFileWriter()}, dir))
	must(err)
	for _, name := range files {
		_, err = s.AddFile(ctx, name, strings.NewReader(fileContent(name)))
		must(err)
	}
	_, err = s.Commit(ctx, repo.Info{})
	must(err)
}
