package disk

import (
	"encoding/binary"
	"io"
)

// A qcow2Layer finds the guest's clusters of a qcow2 image through its tables,
// which are read anew each time: a look-up costs two short reads of what the page
// cache holds, and nothing is kept, however large the image. What is not as QEMU
// writes it is unclear, so that QEMU judges it: it refuses such an image, or
// reads it in its own way (block/qcow2.h, qcow2_get_cluster_type and
// qcow2_get_subcluster_type; block/qcow2-cluster.c, qcow2_get_host_offset).
type qcow2Layer struct {
	qcow2Tables
	image    io.ReaderAt
	length   uint64 // of the image in bytes
	old      bool   // of version 2, which has no clusters of zeros
	holder   *file  // the file that the clusters lie in
	holding  uint64 // its length in bytes
	sectored int64  // the guest's size
}

func newQcow2Layer(image *file, h *qcowHeader, holder *file) *qcow2Layer {
	return &qcow2Layer{
		qcow2Tables: h.tables, image: image, length: uint64(image.before.size), old: h.version == 2,
		holder: holder, holding: uint64(holder.before.size), sectored: int64(h.tables.guest),
	}
}

func (l *qcow2Layer) size() int64 { return l.sectored }

func (l *qcow2Layer) parts(off, n int64, visit func(part) error) error {
	j := joiner{visit: visit}
	from, to, span := uint64(off), uint64(off+n), l.span()
	first := from / span
	known := min(pieces(to, span), l.entries)
	if first < known {
		err := eachEntry(l.image, l.length, l.offset+first*8, known-first, 8, func(i uint64, entry []byte) error {
			start := (first + i) * span
			return l.table(binary.BigEndian.Uint64(entry), start, max(from, start), min(to, start+span), j.add)
		})
		if err != nil {
			return err
		}
	}
	if end := max(from, known*span); end < to {
		if err := j.add(part{off: int64(end), n: int64(to - end), place: below}); err != nil {
			return err
		}
	}
	return j.flush()
}

// table adds the parts of [from, to), which the L2 table covers that an entry of
// the L1 table points at; it begins at start.
func (l *qcow2Layer) table(entry, start, from, to uint64, add func(part) error) error {
	table, cluster := entry&qcow2OffsetMask, uint64(1)<<l.clusterBits
	switch {
	case table == 0:
		return add(part{off: int64(from), n: int64(to - from), place: below})
	case table%cluster != 0 || table > l.length || cluster > l.length-table:
		return add(part{off: int64(from), n: int64(to - from), place: unclear})
	}
	first, width := (from-start)/cluster, l.width()
	count := pieces(to-start, cluster) - first
	return eachEntry(l.image, l.length, table+first*width, count, width, func(i uint64, entry []byte) error {
		at := start + (first+i)*cluster
		return l.cluster(entry, at, max(from, at), min(to, at+cluster), add)
	})
}

// cluster adds the parts of [from, to) of the cluster that begins at start.
func (l *qcow2Layer) cluster(entry []byte, start, from, to uint64, add func(part) error) error {
	e := binary.BigEndian.Uint64(entry)
	offset := e & qcow2OffsetMask
	placed := offset != 0 || l.external && e&qcow2Copied != 0
	whole := func(p place) error {
		return add(l.part(p, offset, start, from, to))
	}
	switch {
	case e&qcow2Compressed != 0:
		return whole(packed)
	case placed && offset%(1<<l.clusterBits) != 0, placed && l.external && offset != start:
		return whole(unclear)
	case l.subclusters:
		return l.subparts(binary.BigEndian.Uint64(entry[8:]), placed, offset, start, from, to, add)
	case e&qcow2Zero != 0 && l.old:
		return whole(unclear)
	case e&qcow2Zero != 0:
		return whole(zeros)
	case placed:
		return whole(inFile)
	}
	return whole(below)
}

// subparts is cluster for an image with subclusters. The lower half of the bitmap
// says which of the 32 are in the file, the upper half which are zeros.
func (l *qcow2Layer) subparts(bitmap uint64, placed bool, offset, start, from, to uint64, add func(part) error) error {
	allocated, zero := uint32(bitmap), uint32(bitmap>>32)
	if allocated&zero != 0 || !placed && allocated != 0 {
		return add(l.part(unclear, offset, start, from, to))
	}
	size := uint64(1) << l.clusterBits / subclusters
	for at := from; at < to; {
		i := (at - start) / size
		end := min(to, start+(i+1)*size)
		p := below
		switch {
		case allocated>>i&1 != 0:
			p = inFile
		case zero>>i&1 != 0:
			p = zeros
		}
		if err := add(l.part(p, offset, start, at, end)); err != nil {
			return err
		}
		at = end
	}
	return nil
}

// subclusters is how many a cluster has, if it has any.
const subclusters = 32

// part is [from, to) of the cluster that begins at start and has its data, if it
// has any, at offset.
func (l *qcow2Layer) part(p place, offset, start, from, to uint64) part {
	if p != inFile {
		return part{off: int64(from), n: int64(to - from), place: p}
	}
	at := offset + from - start
	if at > l.holding || to-from > l.holding-at {
		return part{off: int64(from), n: int64(to - from), place: unclear}
	}
	return part{off: int64(from), n: int64(to - from), place: inFile, at: int64(at), file: l.holder}
}
