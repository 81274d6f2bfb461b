package fusefs

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"testing"
)

// TestSeekInListing goes to any place of a large directory, with a handle that
// has listed it and with a fresh one.
func TestSeekInListing(t *testing.T) {
	t.Parallel()
	const files = 3*markedEvery + 100
	many := manyFiles(1, files)
	in := &storedTree{Tree: many, shared: &tree{flights: &flights{ctx: t.Context()}}}
	dir := &treeDir{treeNode: treeNode{in: in}, dir: many.dirs[many.root.Content.ID][0]}
	old := &treeListing{dir: dir}
	for range 200 {
		off := dots + rand.Uint64N(files+10)
		for _, l := range []*treeListing{old, {dir: dir}} {
			if e := l.Seekdir(t.Context(), off); e != 0 {
				t.Fatal(e)
			}
			for at := off; at < off+300; at++ {
				e, err := l.next()
				if err != nil {
					t.Fatal(err)
				}
				switch want := fmt.Sprintf("file-%06d.txt", at-dots); {
				case at >= dots+files && e != nil:
					t.Fatalf("%q after the end", e.Name)
				case at < dots+files && (e == nil || e.Name != want):
					t.Fatalf("after %d comes %v, want %s", at, e, want)
				}
			}
		}
	}
}

// TestListingAgain lists a directory that the kernel has kept, and that it drops
// on the way.
func TestListingAgain(t *testing.T) {
	t.Parallel()
	const files = 10000
	r := &fakeRepository{}
	r.commitTree("tree/many", manyFiles(1, files))
	dir, reported := mount(t, r, Options{})
	path := filepath.Join(dir, "tree/many", stamp(noon), "dir-0000")
	var want []string
	for i := range files {
		want = append(want, fmt.Sprintf("file-%06d.txt", i))
	}
	for range 5 {
		f, err := os.Open(path)
		if err != nil {
			t.Fatal(err)
		}
		names, err := f.Readdirnames(rand.IntN(files))
		if err != nil {
			t.Fatal(err)
		}
		dropCaches(t)
		more, err := f.Readdirnames(-1)
		if err != nil {
			t.Fatal(err)
		}
		f.Close()
		if got := append(names, more...); !slices.Equal(got, want) {
			t.Errorf("%d names, then %d; want %d", len(names), len(more), files)
		}
	}
	if reported.String() != "" {
		t.Errorf("reported %s", reported)
	}
}
