package qcow2

import (
	"encoding/binary"
	"fmt"
	"io"
	"math/bits"
	"math/rand/v2"
	"sync/atomic"
)

const (
	mib = 1 << 20
	gib = 1 << 30
	tib = 1 << 40
)

// disk is a Source in memory. Only the segments that have an allocated cluster
// take space; the content of a cluster is computed from its number.
type disk struct {
	size    int64
	segment int64
	bitmaps map[int][]uint64
	zeros   bool // allocated clusters hold zeros

	reads atomic.Int64 // calls of ReadAt

	// Faults, for the tests of errors.
	counts     map[int]uint32 // what Clusters says instead
	failBitmap map[int]error
	failAt     int64 // guest offset from which ReadAt fails with failRead, if set
	failRead   error
}

func newDisk(size, segment int64) *disk {
	return &disk{size: size, segment: segment, bitmaps: map[int][]uint64{}}
}

func (d *disk) clusters() int64 { return divideUp(d.size, clusterSize) }

// allocate marks n clusters from first on.
func (d *disk) allocate(first, n int64) {
	per := d.segment / clusterSize
	for c := first; c < first+n; c++ {
		s := int(c / per)
		if d.bitmaps[s] == nil {
			d.bitmaps[s] = make([]uint64, divideUp(per, 64))
		}
		d.bitmaps[s][c%per/64] |= 1 << (c % per % 64)
	}
}

// allocateRandomly fills about share of the disk with runs of clusters.
func (d *disk) allocateRandomly(rng *rand.Rand, share float64) {
	for c := int64(0); c < d.clusters(); {
		n := min(1+rng.Int64N(40), d.clusters()-c)
		if rng.Float64() < share {
			d.allocate(c, n)
		}
		c += n
	}
}

// scatter allocates short runs at random places.
func (d *disk) scatter(rng *rand.Rand, runs int) {
	for range runs {
		first := rng.Int64N(d.clusters())
		d.allocate(first, min(1+rng.Int64N(8), d.clusters()-first))
	}
}

func (d *disk) allocated(cluster int64) bool {
	per := d.segment / clusterSize
	bitmap := d.bitmaps[int(cluster/per)]
	return bitmap != nil && bitmap[cluster%per/64]>>(cluster%per%64)&1 == 1
}

// total is the number of allocated clusters.
func (d *disk) total() int64 {
	n := 0
	for _, bitmap := range d.bitmaps {
		for _, word := range bitmap {
			n += bits.OnesCount64(word)
		}
	}
	return int64(n)
}

func (d *disk) Size() int64        { return d.size }
func (d *disk) SegmentSize() int64 { return d.segment }

func (d *disk) Clusters(segment int) uint32 {
	if n, ok := d.counts[segment]; ok {
		return n
	}
	n := 0
	for _, word := range d.bitmaps[segment] {
		n += bits.OnesCount64(word)
	}
	return uint32(n)
}

// Bitmap has no word more than the segment needs. Nobody may ask for that of a
// segment which never had a cluster.
func (d *disk) Bitmap(segment int) ([]uint64, error) {
	bitmap, ok := d.bitmaps[segment]
	if !ok {
		panic(fmt.Sprintf("bitmap of empty segment %d", segment))
	}
	if end := int64(segment+1) * d.segment; end > d.size && bitmap != nil {
		bitmap = bitmap[:divideUp(d.clusters()-int64(segment)*d.segment/clusterSize, 64)]
	}
	return bitmap, d.failBitmap[segment]
}

func (d *disk) ReadAt(p []byte, off int64) (int, error) {
	d.reads.Add(1)
	if d.failRead != nil && off+int64(len(p)) > d.failAt {
		n := max(0, d.failAt-off)
		d.fill(p[:n], off)
		return int(n), d.failRead
	}
	if off >= d.size {
		return 0, io.EOF
	}
	n := min(int64(len(p)), d.size-off)
	d.fill(p[:n], off)
	if n < int64(len(p)) {
		return int(n), io.EOF
	}
	return int(n), nil
}

// fill writes the guest's bytes.
func (d *disk) fill(p []byte, off int64) {
	for len(p) > 0 {
		part := p[:min(int64(len(p)), clusterSize-off%clusterSize)]
		if cluster := off / clusterSize; d.allocated(cluster) && !d.zeros {
			copy(part, clusterContent(cluster)[off%clusterSize:])
		} else {
			clear(part)
		}
		p, off = p[len(part):], off+int64(len(part))
	}
}

// noise is the random part that all clusters share.
var noise = func() []byte {
	rng := rand.New(rand.NewPCG(1, 2))
	b := make([]byte, 0, clusterSize+4096)
	for len(b) < cap(b) {
		b = binary.LittleEndian.AppendUint64(b, rng.Uint64()|1)
	}
	return b
}()

// clusterContent is the content of a guest cluster: a piece of noise that begins
// at a place of its own among its 4096 neighbours.
func clusterContent(cluster int64) []byte {
	start := uint64(cluster) * 2654435761 % 4096
	return noise[start : start+clusterSize]
}
