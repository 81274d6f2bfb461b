package disk

import (
	"context"
	"encoding/binary"
	"io"
	"math/bits"

	"vaultfs/repo"
)

// qcow2Tables is where a qcow2 image says which of the guest's clusters lie
// where. An entry of the L1 table is the offset of an L2 table of one cluster;
// an entry of that is a cluster of the guest (docs/interop/qcow2.txt, "Cluster
// mapping").
type qcow2Tables struct {
	guest       uint64 // bytes
	offset      uint64 // of the L1 table
	entries     uint64 // of the L1 table, of 8 bytes each
	clusterBits uint32
	subclusters bool // an L2 entry has 16 bytes, the second 8 are the bitmap of its 32 subclusters
	external    bool // clusters lie in another file
}

const (
	qcow2OffsetMask = 0x00fffffffffffe00
	qcow2Copied     = 1 << 63
	qcow2Compressed = 1 << 62
	qcow2Zero       = 1 << 0 // without subclusters: reads as zeros, wherever it lies

	qcow2Sector = 512 // bytes that the length of a compressed cluster is counted in
)

// check reports an L2 table behind the end of the image, which has size bytes,
// or a cluster behind the end of the file that holds the clusters, which has
// dataSize.
func (t *qcow2Tables) check(ctx context.Context, r io.ReaderAt, size, dataSize uint64) error {
	cluster, width := uint64(1)<<t.clusterBits, t.width()
	guest, perTable, span := min(t.guest, repo.MaxDiskSize), cluster/width, t.span()
	if t.offset > size || t.entries*8 > size-t.offset {
		return cutOff("file", size, t.offset+t.entries*8)
	}
	return eachEntry(r, size, t.offset, min(t.entries, pieces(guest, span)), 8, func(i uint64, entry []byte) error {
		table := binary.BigEndian.Uint64(entry) & qcow2OffsetMask
		if table == 0 {
			return nil
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		return eachEntry(r, size, table, perTable, width, func(j uint64, entry []byte) error {
			at := i*span + j*cluster
			if at >= guest {
				return nil
			}
			if end := t.end(entry, min(cluster, guest-at)); end > dataSize {
				return cutOff(t.holder(), dataSize, end)
			}
			return nil
		})
	})
}

// width is the length of an entry of an L2 table in bytes.
func (t *qcow2Tables) width() uint64 {
	if t.subclusters {
		return 16
	}
	return 8
}

// span is how much of the guest's disk an L2 table covers, in bytes.
func (t *qcow2Tables) span() uint64 {
	return 1 << t.clusterBits / t.width() << t.clusterBits
}

// holder is what the file is called that the clusters lie in.
func (t *qcow2Tables) holder() string {
	if t.external {
		return "data file"
	}
	return "file"
}

// end is where the data ends of a cluster of which the guest has n bytes; 0 if it
// has none in a file.
func (t *qcow2Tables) end(entry []byte, n uint64) uint64 {
	e := binary.BigEndian.Uint64(entry)
	if e&qcow2Compressed != 0 {
		return t.compressedEnd(e)
	}
	offset := e & qcow2OffsetMask
	switch {
	case offset == 0 && !(t.external && e&qcow2Copied != 0):
		return 0
	case !t.subclusters && e&qcow2Zero != 0:
		return 0
	case !t.subclusters:
		return offset + n
	}
	last := bits.Len32(binary.BigEndian.Uint32(entry[12:])) // of the bitmap's lower half: what is allocated
	if last == 0 {
		return 0
	}
	return offset + min(n, uint64(last)<<t.clusterBits/32)
}

// compressedEnd is where the first byte ends of the last sector of a compressed
// cluster: the file may end with the data, anywhere in that sector.
func (t *qcow2Tables) compressedEnd(e uint64) uint64 {
	shift := 62 - (t.clusterBits - 8)
	offset := e & (1<<shift - 1)
	more := e &^ (qcow2Copied | qcow2Compressed) >> shift // sectors after the first
	if more == 0 {
		return offset + 1
	}
	return (offset/qcow2Sector+more)*qcow2Sector + 1
}
