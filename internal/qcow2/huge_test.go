package qcow2

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
)

// fullDisk has every cluster allocated and takes no memory. Its segments
// are whole words of a bitmap.
type fullDisk struct{ size, segment int64 }

var allOnes = func() []uint64 {
	words := make([]uint64, maxSegmentSize/clusterSize/wordBits)
	for i := range words {
		words[i] = 1<<64 - 1
	}
	return words
}()

func (d fullDisk) Size() int64                           { return d.size }
func (d fullDisk) SegmentSize() int64                    { return d.segment }
func (d fullDisk) Clusters(int) uint32                   { return uint32(d.segment / clusterSize) }
func (d fullDisk) ReadAt(p []byte, _ int64) (int, error) { return len(p), nil }
func (d fullDisk) Bitmap(int) ([]uint64, error) {
	return allOnes[:d.segment/clusterSize/wordBits], nil
}

// TestHugeSparseDisks walks the metadata of disks up to the largest whole.
func TestHugeSparseDisks(t *testing.T) {
	for _, tc := range []struct{ size, segment int64 }{
		{4 * tib, 64 * mib},
		{64*tib + 512, 256 * mib},
		{2048 * tib, 512 * mib},
	} {
		t.Run(fmt.Sprintf("%d GiB", tc.size/gib), func(t *testing.T) {
			d := newDisk(tc.size, tc.segment)
			d.scatter(rand.New(rand.NewPCG(10, 11)), 100)
			d.allocate(d.clusters()-1, 1)
			checkWalk(t, newView(t, d), d)
		})
	}
}

// TestHugeFullDisks looks at places of files too large to walk: the refcount
// table of the second is two clusters, of the last as large as QEMU takes.
func TestHugeFullDisks(t *testing.T) {
	for _, tc := range []struct{ size, segment int64 }{
		{4 * tib, 4 * mib},
		{16 * tib, 64 * mib},
		{64 * tib, 64 * mib},
		{2047 * tib, 512 * mib},
	} {
		t.Run(fmt.Sprintf("%d TiB", tc.size/tib), func(t *testing.T) {
			v := newView(t, fullDisk{tc.size, tc.segment})
			im, err := parseHeader(v, v.Size())
			if err != nil {
				t.Fatal(err)
			}
			checkPlaces(t, im)
		})
	}
}

// checkPlaces samples a full disk: guest clusters stand in order at the file's
// end, L2 tables right before them, and refcounts are 1 up to the end.
func checkPlaces(t *testing.T, im *image) {
	t.Helper()
	spans, clusters, used := int64(len(im.l1)), im.size/65536, im.fileSize/65536
	data := used - clusters
	rng := rand.New(rand.NewPCG(12, 13))
	for i := range 300 {
		span := []int64{0, spans - 1, rng.Int64N(spans)}[min(i, 2)]
		table, offsets, err := im.l2(span)
		if err != nil || table/65536 != data-spans+span {
			t.Fatalf("L2 of span %d is cluster %d: %v", span, table/65536, err)
		}
		for entry, off := range offsets {
			if off/65536 != data+span*8192+int64(entry) {
				t.Fatalf("guest cluster %d is cluster %d", span*8192+int64(entry), off/65536)
			}
		}
	}
	if int64(len(im.headerTables)) != data-spans {
		t.Fatalf("%d clusters of header and tables, L2 begins at %d", len(im.headerTables), data-spans)
	}
	slices.Sort(im.headerTables)
	for i, c := range im.headerTables {
		if c != int64(i) {
			t.Fatalf("table cluster %d stands at %d", i, c)
		}
	}
	for i := range 3000 {
		cluster := []int64{0, used - 1, used, rng.Int64N(used)}[min(i, 3)]
		want := 1
		if cluster == used {
			want = 0
		}
		if got, err := im.refcount(cluster); got != want || err != nil {
			t.Fatalf("refcount of %d of %d: %d, %v", cluster, used, got, err)
		}
	}
}
