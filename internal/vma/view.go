package vma

import (
	"fmt"
	"io"
)

// viewSlots is the number of slots of an extent that are used, of which there is
// one more: what Proxmox's own writer does.
const viewSlots = 58

// A View is an archive computed from its configs and the disks behind its
// drives. Nothing is stored. It is an [io.ReaderAt], does not change, and may be
// read concurrently.
//
// The file is what Proxmox's writer would make of drives that it gets one after
// the other and in order: the header, then extents of 58 clusters each. A
// cluster of zeros has a slot with an empty mask; of any other the blocks are
// stored that are not zeros. An archive without drives has one empty extent.
//
// The place of a byte comes in two steps. A prefix sum over the segments'
// counts, made once by [NewView], leads to a segment; the segment's bitmap, asked
// of the [Source] when a read needs it, gives the rest. A View hence holds
// 8 bytes a segment, and reading at any place costs two bitmaps and two binary
// searches.
type View struct {
	uuid     [16]byte
	header   []byte
	drives   []*viewDrive
	clusters int64 // of all drives
	blocks   int64 // that are stored
}

// NewView lays out the archive. It asks the sources, one a drive and in their
// order, for the counts of all segments and reads nothing. What an archive cannot
// hold is an error: what [Header.Validate] refuses, or a header above 512 KiB.
func NewView(h *Header, sources []Source) (*View, error) {
	if len(sources) != len(h.Drives) {
		return nil, fmt.Errorf("an archive of %d drives, %d disks for them", len(h.Drives), len(sources))
	}
	v := &View{uuid: h.UUID}
	var err error
	if v.header, err = h.encode(); err != nil {
		return nil, err
	}
	segments := int64(0)
	for i, drive := range h.Drives {
		d, err := newViewDrive(drive, sources[i], v.clusters, v.blocks)
		if err != nil {
			return nil, err
		}
		if segments += d.segments(); segments > maxViewSegments {
			return nil, fmt.Errorf("drives of %d segments: an archive is computed of at most %d", segments, maxViewSegments)
		}
		v.drives = append(v.drives, d)
		v.clusters += d.clusters
		v.blocks = d.blocks()
	}
	return v, nil
}

// Size is the length of the archive in bytes.
func (v *View) Size() int64 {
	return v.startOf(max(1, divideUp(v.clusters, viewSlots)), v.blocks)
}

// ReadAt reads the archive's bytes from off on, as [io.ReaderAt] asks. An error
// of a source is returned as it is, with the count of the bytes before it. A
// bitmap that does not match its segment's count is an error too.
func (v *View) ReadAt(p []byte, off int64) (n int, err error) {
	if off < 0 {
		return 0, fmt.Errorf("read at negative offset %d", off)
	}
	size := v.Size()
	short := off+int64(len(p)) > size
	if short {
		p = p[:max(0, size-off)]
	}
	if off < int64(len(v.header)) {
		n = copy(p, v.header[off:])
	}
	if n < len(p) {
		m, err := v.readExtents(p[n:], off+int64(n))
		if n += m; err != nil {
			return n, err
		}
	}
	if short {
		err = io.EOF
	}
	return n, err
}

// readExtents reads from off, which is in an extent, as p is.
func (v *View) readExtents(p []byte, off int64) (n int, err error) {
	number, start, err := v.find(off)
	var e viewExtent
	for n < len(p) && err == nil {
		if err = v.lay(&e, number, start); err != nil {
			break
		}
		var m int
		m, err = v.readExtent(&e, p[n:], off+int64(n)-start)
		n += m
		number, start = number+1, e.end()
	}
	return n, err
}

// readExtent reads from byte pos of an extent, to the end of p or of the extent.
func (v *View) readExtent(e *viewExtent, p []byte, pos int64) (n int, err error) {
	if pos < extentHeaderSize {
		h := e.header(v.uuid)
		n = copy(p, h[pos:])
		pos += int64(n)
	}
	if n < len(p) {
		m, err := e.readData(p[n:], pos-extentHeaderSize)
		return n + m, err
	}
	return n, nil
}
