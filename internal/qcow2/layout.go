package qcow2

import (
	"encoding/binary"
	"fmt"
)

const (
	clusterBits       = 16
	clusterSize       = 1 << clusterBits
	sectorSize        = 512
	entrySize         = 8 // of the refcount table, L1 and L2
	entriesPerCluster = clusterSize / entrySize
	refcountOrder     = 4 // 16-bit refcounts
	refcountsPerBlock = clusterSize / 2
	l2Span            = entriesPerCluster * clusterSize // guest bytes that one L2 table maps

	minSegmentSize = 1 << 20
	maxSegmentSize = l2Span

	// QEMU's QCOW_MAX_L1_SIZE and QCOW_MAX_REFTABLE_SIZE, block/qcow2.h.
	maxSize             = (32 << 20) / entrySize * l2Span // 2 PiB
	maxRefTableClusters = (8 << 20) / clusterSize

	headerSize = 104
	magic      = "QFI\xfb"
	version    = 3
)

// layout holds the byte offset in the file at which each area begins. The header
// is at 0.
type layout struct {
	refTable, refBlocks, l1, l2, data, end int64
}

// place lays out the file of a disk that has an allocation.
func place(a *allocation) (layout, error) {
	l1 := divideUp(a.spans(), entriesPerCluster)
	refTable, refBlocks := refcountClusters(1 + l1 + a.tables() + a.total())
	if refTable > maxRefTableClusters {
		return layout{}, fmt.Errorf("%d clusters allocated: refcount table of %d clusters, QEMU takes %d",
			a.total(), refTable, maxRefTableClusters)
	}
	var l layout
	l.refTable = clusterSize
	l.refBlocks = l.refTable + refTable*clusterSize
	l.l1 = l.refBlocks + refBlocks*clusterSize
	l.l2 = l.l1 + l1*clusterSize
	l.data = l.l2 + a.tables()*clusterSize
	l.end = l.data + a.total()*clusterSize
	return l, nil
}

// refcountClusters returns how many clusters the refcount table and the refcount
// blocks take that count themselves and others more. It is the least fixpoint:
// each round counts the clusters that the round before has added.
func refcountClusters(others int64) (table, blocks int64) {
	for {
		needed := divideUp(others+table+blocks, refcountsPerBlock)
		if needed == blocks {
			return table, blocks
		}
		table, blocks = divideUp(needed, entriesPerCluster), needed
	}
}

// header encodes the header of a disk of size guest bytes, a multiple of 512.
// Fields that are left zero: backing file, encryption, snapshots, feature bits.
// The zeros after it are the end of the header extensions.
func (l *layout) header(size int64) [headerSize]byte {
	var h [headerSize]byte
	be := binary.BigEndian
	copy(h[0:], magic)
	be.PutUint32(h[4:], version)
	be.PutUint32(h[20:], clusterBits)
	be.PutUint64(h[24:], uint64(size))
	be.PutUint32(h[36:], uint32(divideUp(size, l2Span)))
	be.PutUint64(h[40:], uint64(l.l1))
	be.PutUint64(h[48:], uint64(l.refTable))
	be.PutUint32(h[56:], uint32((l.refBlocks-l.refTable)/clusterSize))
	be.PutUint32(h[96:], refcountOrder)
	be.PutUint32(h[100:], headerSize)
	return h
}

func divideUp(a, b int64) int64 { return (a + b - 1) / b }
