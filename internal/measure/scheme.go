package measure

import (
	"math/bits"

	"vaultfs/chunk"
)

// A Scheme is a way to cut disks.
type Scheme struct {
	Aligned bool  // cut where the content says so, between grains; else in pieces of Size
	Size    int64 // bytes: of a fixed piece, or about the average
}

// Own is how vaultfs cuts.
var Own = Scheme{Aligned: true, Size: 4 * chunk.DiskMin}

// schemes are those that are tried, the own one first.
var schemes = []Scheme{
	Own,
	{true, 64 << 10}, {true, 256 << 10},
	{false, 64 << 10}, {false, 256 << 10}, {false, 1 << 20}, {false, 4 << 20},
}

// A cutter cuts as chunk.Disk does, but with other bounds, and by the sums of the
// grains: it never looks at their bytes. A sum is 0 of a zero grain alone.
type cutter struct {
	least, most int  // grains of a chunk
	bits        uint // leading zero bits of a sum that end one
}

// cutterFor has the own scheme's proportions.
func cutterFor(average int64) cutter {
	grains := int(average / chunk.Grain)
	return cutter{least: grains / 4, most: grains * 4, bits: uint(bits.Len(uint(grains))) - 1}
}

// next is what chunk.Disk.Next is, in grains.
func (c cutter) next(sums []uint64, last bool) (zeros, n int) {
	for zeros < len(sums) && sums[zeros] == 0 {
		zeros++
	}
	for data := sums[zeros:]; n < len(data); {
		if data[n] == 0 {
			return zeros, n
		}
		n++
		if n >= c.most || n >= c.least && data[n-1]>>(64-c.bits) == 0 {
			return zeros, n
		}
	}
	if !last {
		return zeros, 0
	}
	return zeros, n
}

// fingerprint is that of a chunk of the grains with these sums.
func fingerprint(sums []uint64) uint64 {
	h := uint64(len(sums))
	for _, sum := range sums {
		h = (h ^ sum) * 0x9e3779b97f4a7c15 // 2^64 over the golden ratio, odd
		h ^= h >> 32
	}
	return h
}
