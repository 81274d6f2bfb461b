package format

import (
	"encoding/binary"

	"vaultfs/chunk"
)

// ClusterSize is the unit in which the qcow2 view of a disk allocates, in bytes.
const ClusterSize = 64 << 10

// PageSegments is the number of segments that one page describes.
const PageSegments = 1024

// MaxDiskSize bounds the size of a disk, in bytes.
const MaxDiskSize = 1 << 56

const (
	maxExtentGrains = chunk.DiskMax / chunk.Grain
	maxPages        = MaxDiskSize / PageSegments / MinSegmentSize
)

// An Extent is one chunk of a segment. Off and Len are bytes, multiples of
// chunk.Grain; Off counts from the segment's start. What no extent covers is
// zeros. Bytes of the last extent beyond the disk's size are zeros too.
type Extent struct {
	Off, Len int64
	ID       chunk.ID
}

// A SegmentMap is the extents of one segment, sorted, without overlap.
type SegmentMap []Extent

// Encode makes the chunk of kind DiskMap.
func (m SegmentMap) Encode() []byte {
	var ids list
	body := binary.AppendUvarint(nil, uint64(len(m)))
	end := int64(0)
	for _, e := range m {
		body = binary.AppendUvarint(body, uint64((e.Off-end)/chunk.Grain))
		body = binary.AppendUvarint(body, uint64(e.Len/chunk.Grain))
		body = binary.AppendUvarint(body, ids.add(e.ID))
		end = e.Off + e.Len
	}
	return append(appendChildren(nil, DiskMap, Children{Data: ids.ids}), body...)
}

// DecodeSegmentMap reads a segment map of a segment of that many bytes.
func DecodeSegmentMap(b []byte, segmentSize int64) (SegmentMap, error) {
	c, rest, err := children(b, DiskMap)
	if err != nil {
		return nil, err
	}
	r, grains := reader{b: rest}, uint64(segmentSize/chunk.Grain)
	n := r.uint()
	if n > grains || n > uint64(len(rest)) || len(c.Structured) != 0 {
		return nil, damaged("segment map of %d extents", n)
	}
	m := make(SegmentMap, 0, n)
	pos, seen := uint64(0), uint64(0)
	for range n {
		gap, length, i := r.uint(), r.uint(), r.uint()
		if gap > grains || length == 0 || length > maxExtentGrains || pos+gap+length > grains {
			return nil, damaged("extent of %d grains after a gap of %d at grain %d", length, gap, pos)
		}
		if !known(i, &seen, len(c.Data)) {
			return nil, damaged("extent names child %d", i)
		}
		pos += gap
		m = append(m, Extent{int64(pos) * chunk.Grain, int64(length) * chunk.Grain, c.Data[i]})
		pos += length
	}
	return m, finish(&r, seen, len(c.Data))
}

// known checks a child's place: one named before, or the next new one.
func known(i uint64, seen *uint64, n int) bool {
	if i == *seen {
		*seen++
	}
	return i < *seen && i < uint64(n)
}

// finish checks that every byte was read and every child named.
func finish(r *reader, seen uint64, n int) error {
	if err := r.done(); err != nil {
		return err
	}
	if seen != uint64(n) {
		return damaged("%d children, %d of them named", n, seen)
	}
	return nil
}

// Counts returns how many clusters of ClusterSize and how many grains of
// chunk.Grain the extents of the segment touch.
func (m SegmentMap) Counts() (clusters, grains uint32) {
	next := int64(0) // first cluster that is not counted yet
	for _, e := range m {
		grains += uint32(e.Len / chunk.Grain)
		first, end := e.Off/ClusterSize, (e.Off+e.Len-1)/ClusterSize+1
		first = max(first, next)
		clusters += uint32(max(0, end-first))
		next = max(next, end)
	}
	return clusters, grains
}

// An Entry describes one segment in a page, or one page in a root. Map is zero
// when everything there is zeros. Clusters and Grains are the sums of what
// SegmentMap.Counts gives.
type Entry struct {
	Map              chunk.ID
	Clusters, Grains uint64
}

// A DiskTable is the entries of a page, or of a root.
type DiskTable []Entry

// appendTable encodes the entries and collects their IDs.
func (t DiskTable) append(b []byte, ids *list) []byte {
	b = binary.AppendUvarint(b, uint64(len(t)))
	for _, e := range t {
		if e.Map.IsZero() {
			b = append(b, 0)
			continue
		}
		b = binary.AppendUvarint(b, 1+ids.add(e.Map))
		b = binary.AppendUvarint(b, e.Clusters)
		b = binary.AppendUvarint(b, e.Grains)
	}
	return b
}

// readTable reads at most limit entries; each spans at most span bytes.
func readTable(r *reader, ids []chunk.ID, limit uint64, span uint64) (DiskTable, error) {
	n := r.uint()
	if n > limit || n > uint64(len(r.b)) {
		return nil, damaged("table of %d entries", n)
	}
	t, seen := make(DiskTable, n), uint64(0)
	for i := range t {
		place := r.uint()
		if place == 0 {
			continue
		}
		if !known(place-1, &seen, len(ids)) {
			return nil, damaged("entry names child %d", place-1)
		}
		t[i] = Entry{ids[place-1], r.uint(), r.uint()}
		if t[i].Clusters > span/ClusterSize || t[i].Grains > span/chunk.Grain {
			return nil, damaged("entry counts %d clusters and %d grains", t[i].Clusters, t[i].Grains)
		}
	}
	return t, finish(r, seen, len(ids))
}

// EncodePage makes the chunk of kind DiskPage.
func (t DiskTable) EncodePage() []byte {
	var ids list
	body := t.append(nil, &ids)
	return append(appendChildren(nil, DiskPage, Children{Structured: ids.ids}), body...)
}

// DecodePage reads a page of a disk with segments of that many bytes.
func DecodePage(b []byte, segmentSize int64) (DiskTable, error) {
	c, rest, err := children(b, DiskPage)
	if err != nil {
		return nil, err
	}
	if len(c.Data) != 0 {
		return nil, damaged("disk page names data")
	}
	return readTable(&reader{b: rest}, c.Structured, PageSegments, uint64(segmentSize))
}

// A Disk is the root of a disk.
type Disk struct {
	Size        int64 // bytes
	SegmentSize int64 // bytes
	Pages       DiskTable
}

// Segments is the number of segments of the disk; the last may be partial.
func (d *Disk) Segments() int64 { return (d.Size + d.SegmentSize - 1) / d.SegmentSize }

// Encode makes the chunk of kind DiskRoot.
func (d *Disk) Encode() []byte {
	var ids list
	body := binary.AppendUvarint(nil, uint64(d.Size))
	body = binary.AppendUvarint(body, uint64(d.SegmentSize))
	body = d.Pages.append(body, &ids)
	return append(appendChildren(nil, DiskRoot, Children{Structured: ids.ids}), body...)
}

// DecodeDisk reads the root of a disk.
func DecodeDisk(b []byte) (*Disk, error) {
	c, rest, err := children(b, DiskRoot)
	if err != nil {
		return nil, err
	}
	r := reader{b: rest}
	size, segment := r.uint(), r.uint()
	if len(c.Data) != 0 || size > MaxDiskSize || !validSegmentSize(segment) {
		return nil, damaged("disk of %d bytes in segments of %d", size, segment)
	}
	d := &Disk{Size: int64(size), SegmentSize: int64(segment)}
	pages := uint64(d.Segments()+PageSegments-1) / PageSegments
	if d.Pages, err = readTable(&r, c.Structured, maxPages, segment*PageSegments); err != nil {
		return nil, err
	}
	if uint64(len(d.Pages)) != pages {
		return nil, damaged("%d pages for %d bytes", len(d.Pages), size)
	}
	return d, nil
}
