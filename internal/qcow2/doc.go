// Package qcow2 computes a qcow2 file from what is allocated on a disk. Nothing
// is stored: every byte of the file is a function of the disk's content and of
// which of its 64 KiB clusters are allocated.
//
// The format is docs/interop/qcow2.txt of QEMU, version 3, with 64 KiB clusters,
// 16-bit refcounts, no feature bits, no snapshots and no backing file. The areas
// of the file follow one another, each a whole number of clusters:
//
//	header | refcount table | refcount blocks | L1 table | L2 tables | data
//
// Every cluster of the file is used exactly once, so every refcount up to the
// file's end is 1. An L2 table exists only where its 512 MiB of guest disk hold
// an allocated cluster. The data clusters stand in guest order, so the place of
// a guest cluster is its rank, the number of allocated clusters before it.
//
// Ranks come in two steps. A disk is a row of segments; a prefix sum over the
// segments' cluster counts, made once by [New], gives the rank of a segment's
// first cluster. The segment's bitmap, asked of the [Source] when a read needs
// it, gives the rest. A View hence holds 8 bytes a segment and 4 bytes per
// 512 MiB of disk, and opening it costs one pass over the counts.
package qcow2
