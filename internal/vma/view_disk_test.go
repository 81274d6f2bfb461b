package vma

import (
	"bytes"
	"io"
	"math/rand/v2"
	"slices"
	"sync/atomic"

	"vaultfs/internal/bitset"
)

const (
	kib = 1 << 10
	mib = 1 << 20
	gib = 1 << 30
	tib = 1 << 40
)

// disk is a Source in memory: the grains that hold data, by their number.
type disk struct {
	size    int64
	segment int64
	grains  map[int64][]byte
	bitmaps map[int][]uint64 // by segment

	reads atomic.Int64 // calls of ReadAt

	// Faults, for the tests of errors.
	wrongCount map[int]uint32 // what Grains says instead
	bitmap     func(segment int, b []uint64) ([]uint64, error)
	failAt     int64 // offset from which ReadAt fails with failRead, if set
	failRead   error
}

func newDisk(size, segment int64) *disk {
	return &disk{size: size, segment: segment, grains: map[int64][]byte{}, bitmaps: map[int][]uint64{}}
}

func (d *disk) grainCount() int64 { return divideUp(d.size, blockSize) }

// write puts random data on n grains from first on. The disk's last grain ends
// with the disk.
func (d *disk) write(rng *rand.Rand, first, n int64) {
	for g := first; g < min(first+n, d.grainCount()); g++ {
		start := rng.IntN(len(noise) - blockSize)
		b := noise[start : start+int(min(blockSize, d.size-g*blockSize))]
		d.put(g, b)
	}
}

// put is a grain that holds data.
func (d *disk) put(g int64, b []byte) {
	d.grains[g] = b
	perSegment := d.segment / blockSize
	s, i := g/perSegment, g%perSegment
	if d.bitmaps[int(s)] == nil {
		d.bitmaps[int(s)] = make([]uint64, divideUp(min(perSegment, d.grainCount()-s*perSegment), wordBits))
	}
	d.bitmaps[int(s)][i/wordBits] |= 1 << (i % wordBits)
}

// noise is random bytes, none of them zero.
var noise = func() []byte {
	b := make([]byte, 4*blockSize)
	rng := rand.New(rand.NewPCG(1, 2))
	for i := range b {
		b[i] = 1 + byte(rng.IntN(255))
	}
	return b
}()

// bytes is the whole disk.
func (d *disk) bytes() []byte {
	b := make([]byte, d.size)
	for g, data := range d.grains {
		copy(b[g*blockSize:], data)
	}
	return b
}

// diskOf makes a disk of its bytes.
func diskOf(b []byte, segment int64) *disk {
	d := newDisk(int64(len(b)), segment)
	for g := range d.grainCount() {
		grain := b[g*blockSize : min((g+1)*blockSize, int64(len(b)))]
		if bytes.Trim(grain, "\x00") != nil {
			d.put(g, grain)
		}
	}
	return d
}

func (d *disk) Size() int64        { return d.size }
func (d *disk) SegmentSize() int64 { return d.segment }

func (d *disk) Grains(segment int) uint32 {
	if n, ok := d.wrongCount[segment]; ok {
		return n
	}
	return uint32(bitset.Ones(d.bitmaps[segment]))
}

func (d *disk) GrainBitmap(segment int) ([]uint64, error) {
	b := d.bitmaps[segment]
	if d.bitmap != nil {
		return d.bitmap(segment, slices.Clone(b))
	}
	return b, nil
}

func (d *disk) ReadAt(p []byte, off int64) (n int, err error) {
	d.reads.Add(1)
	if off+int64(len(p)) > d.size {
		p, err = p[:max(0, d.size-off)], io.EOF
	}
	if d.failRead != nil && off+int64(len(p)) > d.failAt {
		p, err = p[:max(0, d.failAt-off)], d.failRead
	}
	for n < len(p) {
		at := off + int64(n)
		part := p[n:min(int64(len(p)), int64(n)+blockSize-at%blockSize)]
		clear(part)
		if g := d.grains[at/blockSize]; g != nil {
			copy(part, g[at%blockSize:])
		}
		n += len(part)
	}
	return n, err
}
