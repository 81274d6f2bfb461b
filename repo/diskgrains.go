package repo

import (
	"vaultfs/chunk"
	"vaultfs/repo/format"
)

// Grains is the number of 4 KiB grains of a segment that hold data. Check has
// succeeded before it is called.
func (d *Disk) Grains(segment int) uint32 {
	t, err := d.page(segment)
	if err != nil || t == nil {
		return 0
	}
	return uint32(t[segment%format.PageSegments].Grains)
}

// GrainBitmap has a bit for each 4 KiB grain of a segment, lowest first; it is
// set when the grain holds data. It is nil for zeros. It is made anew at each
// call.
func (d *Disk) GrainBitmap(segment int) ([]uint64, error) {
	m, err := d.Segment(segment)
	if err != nil || len(m) == 0 {
		return nil, err
	}
	bits := make([]uint64, d.root.SegmentSize/chunk.Grain/64)
	for _, e := range m {
		setBits(bits, e.Off/chunk.Grain, e.Len/chunk.Grain)
	}
	return bits, nil
}

// setBits sets n bits from bit first on.
func setBits(bits []uint64, first, n int64) {
	for n > 0 {
		at := first % 64
		k := min(n, 64-at)
		bits[first/64] |= ^uint64(0) >> (64 - k) << at
		first, n = first+k, n-k
	}
}
