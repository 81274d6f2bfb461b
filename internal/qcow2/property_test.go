package qcow2

import (
	"bytes"
	"math/rand/v2"
	"testing"

	"pgregory.net/rapid"
	"vaultfs/internal/bitset"
)

// checkWalk parses the file and holds it against the disk: the same clusters,
// in guest order, at the file's end.
func checkWalk(t rapid.TB, v *View, d *disk) {
	t.Helper()
	im, err := parseHeader(v, v.Size())
	if err != nil {
		t.Fatal(err)
	}
	if want := (d.size + 511) / 512 * 512; im.size != want {
		t.Fatalf("header says %d bytes, the disk has %d", im.size, want)
	}
	guest, err := im.walk()
	if err != nil {
		t.Fatal(err)
	}
	if int64(len(guest)) != d.total() {
		t.Fatalf("%d clusters mapped of %d", len(guest), d.total())
	}
	for cluster, off := range guest {
		if !d.allocated(cluster) {
			t.Fatalf("guest cluster %d is mapped to %#x and not allocated", cluster, off)
		}
	}
	next := v.Size() - d.total()*65536
	if v.DataOffset() != next {
		t.Fatalf("the data area begins at %#x, not %#x", v.DataOffset(), next)
	}
	for s := range int(divideUp(d.size, d.segment)) {
		for c := int64(s) * d.segment / 65536; d.bitmaps[s] != nil && c < int64(s+1)*d.segment/65536; c++ {
			if !d.allocated(c) {
				continue
			}
			if guest[c] != next {
				t.Fatalf("guest cluster %d at %#x, not %#x", c, guest[c], next)
			}
			inside := min(65535, d.size-c*65536-1)
			if at, err := v.Locate(c*65536 + inside); at != next+inside || err != nil {
				t.Fatalf("byte %d of guest cluster %d located at %#x, not %#x (%v)", inside, c, at, next+inside, err)
			}
			next += 65536
		}
	}
}

// checkData reads every allocated cluster of a whole file that was read.
func checkData(t rapid.TB, file []byte, d *disk) {
	t.Helper()
	at := int64(len(file)) - d.total()*65536
	want := make([]byte, 65536)
	for c := range d.clusters() {
		if !d.allocated(c) {
			continue
		}
		clear(want)
		copy(want[:min(65536, d.size-c*65536)], clusterContent(c))
		if !bytes.Equal(file[at:at+65536], want) {
			t.Fatalf("content of guest cluster %d is wrong", c)
		}
		at += 65536
	}
}

func TestMetadataProperty(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		d := drawDisk(t, 3*gib)
		checkWalk(t, newView(t, d), d)
	})
}

func TestContentProperty(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		d := drawDisk(t, 8*mib)
		v := newView(t, d)
		file := readAll(t, v)
		checkData(t, file, d)
		for range 50 {
			off := rapid.Int64Range(0, v.Size()).Draw(t, "off")
			n := rapid.Int64Range(0, 200_000).Draw(t, "n")
			checkSlice(t, v, file, off, n)
		}
	})
}

// drawDisk draws a disk up to a size, often at a border of a cluster, segment or
// L2 span, with few, many or all clusters allocated.
func drawDisk(t *rapid.T, maxSize int64) *disk {
	segment := int64(mib) << rapid.IntRange(0, 9).Draw(t, "segment")
	size := rapid.Int64Range(0, maxSize).Draw(t, "size")
	if unit := rapid.SampledFrom([]int64{1, 512, 65536, segment}).Draw(t, "unit"); unit > 1 {
		size = min(maxSize, size/unit*unit+rapid.SampledFrom([]int64{0, 1, 512}).Draw(t, "extra"))
	}
	d := newDisk(size, segment)
	rng := rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "seed"), 0))
	switch clusters := d.clusters(); rapid.IntRange(0, 3).Draw(t, "fill") {
	case 0:
		if clusters > 0 {
			d.scatter(rng, rapid.IntRange(0, 20).Draw(t, "runs"))
		}
	case 1:
		d.allocate(0, clusters)
	default:
		d.allocateRandomly(rng, rapid.Float64Range(0, 1).Draw(t, "share"))
	}
	return d
}

func TestBitmapsAgainstSingleBits(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		word := rapid.OneOf(rapid.Uint64(), rapid.SampledFrom([]uint64{0, 1<<64 - 1, 1 << 63}))
		bitmap := rapid.SliceOfN(word, 1, 4).Draw(t, "bitmap")
		limit := rapid.Int64Range(0, 300).Draw(t, "limit")
		before := int64(0)
		for i := range int64(len(bitmap)) * 64 {
			if got := bitset.OnesBefore(bitmap, i); got != before {
				t.Fatalf("%d bits before %d, not %d", got, i, before)
			}
			run := int64(0)
			for run < limit && i+run < int64(len(bitmap))*64 && isSet(bitmap, i+run) {
				run++
			}
			if got := runOfOnes(bitmap, i, limit); got != run {
				t.Fatalf("run of %d from %d, not %d", got, i, run)
			}
			if isSet(bitmap, i) {
				if got := nthOne(bitmap, before); got != i {
					t.Fatalf("set bit %d is %d, not %d", before, got, i)
				}
				before++
			}
		}
		if got := bitset.Ones(bitmap); got != before {
			t.Fatalf("%d bits set, not %d", got, before)
		}
	})
}

func TestRefcountsCountThemselves(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		others := rapid.Int64Range(1, 1<<rapid.IntRange(1, 36).Draw(t, "bits")).Draw(t, "others")
		table, blocks := refcountClusters(others)
		total := others + table + blocks
		if blocks*32768 < total || table*8192 < blocks {
			t.Fatalf("%d others: %d blocks, %d table clusters are too few", others, blocks, table)
		}
		if (blocks-1)*32768 >= total || (table-1)*8192 >= blocks {
			t.Fatalf("%d others: %d blocks, %d table clusters are too many", others, blocks, table)
		}
	})
}
