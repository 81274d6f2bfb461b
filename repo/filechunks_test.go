package repo_test

import (
	"slices"
	"testing"

	"vaultfs/chunk"
	"vaultfs/repo"
)

// The ends of chunks divide a file's data, and are the same whichever byte of a
// chunk is asked for.
func TestChunkEnds(t *testing.T) {
	sparse := fileOf(make([]byte, 20<<20))
	sparse.sparse, sparse.ranges = true, []repo.Range{{Off: 4096, Len: 5000}, {Off: 1 << 20, Len: 6 << 20}, {Off: 8 << 20, Len: 1}}
	files := map[string]*node{"long": fileOf(random(1, 12<<20)), "short": fileOf(random(2, 100)), "sparse": sparse, "tail": {entry: fileOf(nil).entry, data: make([]byte, 5000), sparse: true}}
	for _, x := range sparse.ranges {
		copy(sparse.data[x.Off:], random(3, int(x.Len)))
	}
	r := newRepo(t, newStore(t))
	snap := storeTree(t, r, "tree/a", dirOf(files))
	tree, err := r.OpenTree(t.Context(), *snap.Item(repo.WholeTree))
	if err != nil {
		t.Fatal(err)
	}
	for name, n := range files {
		e, err := tree.Find(t.Context(), name)
		if err != nil {
			t.Fatal(err)
		}
		f, err := tree.Open(t.Context(), e)
		if err != nil {
			t.Fatal(err)
		}
		var ends []int64
		for off := int64(0); off < f.Size(); {
			end, err := f.ChunksEnd(off, 1)
			if err != nil || end <= off || end > f.Size() {
				t.Fatalf("%s: the chunk at %d ends at %d (%v)", name, off, end, err)
			}
			for _, at := range []int64{off + 1, (off + end) / 2, end - 1} {
				if again, err := f.ChunksEnd(at, 1); at < end && at >= off && (again != end || err != nil) {
					t.Errorf("%s: the chunk at %d ends at %d, asked for at %d at %d (%v)", name, off, end, at, again, err)
				}
			}
			if hole, err := f.NextHole(off); err != nil || (hole > off && end-off > chunk.MaxSize) {
				t.Errorf("%s: a chunk of %d bytes at %d (%v)", name, end-off, off, err)
			}
			ends = append(ends, end)
			off = end
		}
		if n.sparse {
			for _, x := range n.ranges {
				if !slices.Contains(ends, x.Off+x.Len) || !slices.Contains(ends, x.Off) {
					t.Errorf("%s: no end at the border of the data %v: %v", name, x, ends)
				}
			}
		}
		for _, most := range []int64{100, 1 << 20, 5 << 20, 1 << 30} {
			for off, at := int64(0), 0; off < f.Size(); at++ {
				end, err := f.ChunksEnd(off, most)
				if err != nil || !slices.Contains(ends[at:], end) {
					t.Fatalf("%s: chunks of %d bytes at %d end at %d (%v), where none ends: %v", name, most, off, end, err, ends)
				}
				at = slices.Index(ends, end)
				hole, err := f.NextHole(off)
				if err != nil || (hole > off && end > hole) || (hole > off && end < hole && ends[at+1]-off <= most) {
					t.Errorf("%s: chunks of %d bytes at %d end at %d, the data at %d (%v)", name, most, off, end, hole, err)
				}
				off = end
			}
		}
		if _, err := f.ChunksEnd(f.Size(), 1); err == nil {
			t.Errorf("%s: there is a chunk at its end", name)
		}
		if _, err := f.ChunksEnd(-1, 1); err == nil {
			t.Errorf("%s: there is a chunk before it", name)
		}
		if name == "long" && len(ends) < 3 {
			t.Errorf("a file of %d bytes in %d chunks", f.Size(), len(ends))
		}
	}
}
