package qcow2

import (
	"encoding/binary"

	"vaultfs/internal/bitset"
)

// copied marks an L1 or L2 entry whose cluster has a refcount of exactly 1.
const copied = 1 << 63

// readHeader reads the header cluster.
func (v *View) readHeader(p []byte, pos int64) int {
	n := copy(p, v.header[min(pos, headerSize):])
	clear(p[n:])
	return len(p)
}

// readRefTable reads the offsets of the refcount blocks.
func (v *View) readRefTable(p []byte, pos int64) int {
	blocks := (v.layout.l1 - v.layout.refBlocks) / clusterSize
	putEntries(p, pos, func(i int64) uint64 {
		if i >= blocks {
			return 0
		}
		return uint64(v.layout.refBlocks + i*clusterSize)
	})
	return len(p)
}

// readRefBlocks reads 16-bit refcounts: 1 for every cluster of the file, then 0
// to the end of the last block.
func (v *View) readRefBlocks(p []byte, pos int64) int {
	used := v.layout.end / clusterSize * 2
	clear(p)
	for i := 1 - pos%2; i < int64(len(p)) && pos+i < used; i += 2 {
		p[i] = 1
	}
	return len(p)
}

// readL1 reads the offsets of the L2 tables.
func (v *View) readL1(p []byte, pos int64) int {
	putEntries(p, pos, func(span int64) uint64 {
		if span >= v.alloc.spans() || !v.alloc.hasTable(span) {
			return 0
		}
		return copied | uint64(v.layout.l2+int64(v.alloc.tablesBefore[span])*clusterSize)
	})
	return len(p)
}

// readL2 reads L2 tables, one segment's entries at a time.
func (v *View) readL2(p []byte, pos int64) (int, error) {
	n := 0
	for n < len(p) {
		table, inTable := (pos+int64(n))/clusterSize, (pos+int64(n))%clusterSize
		first := v.alloc.spanOf(table) * entriesPerCluster
		segment := (first + inTable/entrySize) / v.alloc.perSegment
		inSegment := inTable - (segment*v.alloc.perSegment-first)*entrySize
		part := upTo(p[n:], v.alloc.perSegment*entrySize-inSegment)
		if err := v.readMappings(part, inSegment, segment); err != nil {
			return n, err
		}
		n += len(part)
	}
	return n, nil
}

// readMappings reads the L2 entries of a segment from byte pos of them on.
func (v *View) readMappings(p []byte, pos, segment int64) error {
	if v.alloc.allocated(segment) == 0 {
		clear(p)
		return nil
	}
	bitmap, err := v.bitmap(segment)
	if err != nil {
		return err
	}
	clusters := v.alloc.clustersOf(segment)
	first := min(pos/entrySize, clusters)
	next := v.layout.data + (v.alloc.before[segment]+bitset.OnesBefore(bitmap, first))*clusterSize
	putEntries(p, pos, func(i int64) uint64 {
		if i >= clusters || !isSet(bitmap, i) {
			return 0
		}
		entry := copied | uint64(next)
		next += clusterSize
		return entry
	})
	return nil
}

// putEntries fills p with the big-endian entries of a table from byte pos of it
// on. It calls entry once for each entry that it touches, in order.
func putEntries(p []byte, pos int64, entry func(i int64) uint64) {
	i := pos / entrySize
	var partial [entrySize]byte
	if skip := pos % entrySize; skip != 0 {
		binary.BigEndian.PutUint64(partial[:], entry(i))
		p = p[copy(p, partial[skip:]):]
		i++
	}
	for ; len(p) >= entrySize; p = p[entrySize:] {
		binary.BigEndian.PutUint64(p, entry(i))
		i++
	}
	if len(p) > 0 {
		binary.BigEndian.PutUint64(partial[:], entry(i))
		copy(p, partial[:])
	}
}
