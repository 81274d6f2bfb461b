package fusefs

import (
	"path/filepath"
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
