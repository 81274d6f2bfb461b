package qcow2

import (
	"fmt"

	"vaultfs/internal/bitset"
)

// DataOffset is the offset in the file at which the data area begins. What is
// before it is metadata.
func (v *View) DataOffset() int64 { return v.layout.data }

// Locate returns where in the file the guest byte at off lies, which is in an
// allocated cluster. Allocated clusters that follow one another in the guest do so
// in the file, and none is out of order.
func (v *View) Locate(off int64) (int64, error) {
	if off < 0 || off >= v.size {
		return 0, fmt.Errorf("guest offset %d of a disk of %d bytes", off, v.size)
	}
	cluster := off / clusterSize
	segment, inSegment := cluster/v.alloc.perSegment, cluster%v.alloc.perSegment
	var bitmap []uint64
	if v.alloc.allocated(segment) > 0 { // a source has no bitmap of others
		var err error
		if bitmap, err = v.bitmap(segment); err != nil {
			return 0, err
		}
	}
	if bitmap == nil || !isSet(bitmap, inSegment) {
		return 0, fmt.Errorf("guest offset %d: its cluster is not allocated", off)
	}
	rank := v.alloc.before[segment] + bitset.OnesBefore(bitmap, inSegment)
	return v.layout.data + rank*clusterSize + off%clusterSize, nil
}
