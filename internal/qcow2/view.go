package qcow2

import (
	"fmt"
	"io"
	"syscall"

	"vaultfs/internal/bitset"
)

// View is the qcow2 file of a [Source]. It is an [io.ReaderAt], does not change,
// and may be read concurrently.
type View struct {
	src    Source
	size   int64 // of the source, in guest bytes
	alloc  allocation
	layout layout
	header [headerSize]byte
}

// New lays out the file. It asks the source for the counts of all segments and
// reads nothing. Disks are refused that QEMU does not take as one qcow2 file: of
// more than 2 PiB, or of so many allocated clusters that the file would be.
func New(src Source) (*View, error) {
	size := src.Size()
	if size < 0 || size > maxSize {
		return nil, fmt.Errorf("disk of %d bytes: a qcow2 file has 0 to %d", size, int64(maxSize))
	}
	alloc, err := count(src, size)
	if err != nil {
		return nil, err
	}
	v := &View{src: src, size: size, alloc: alloc}
	if v.layout, err = place(&v.alloc); err != nil {
		return nil, err
	}
	v.header = v.layout.header(divideUp(size, sectorSize) * sectorSize)
	return v, nil
}

// Over returns the same file, read from another source of the same disk.
func (v *View) Over(src Source) *View {
	other := *v
	other.src = src
	return &other
}

// Size is the length of the file in bytes, a multiple of 64 KiB.
func (v *View) Size() int64 { return v.layout.end }

// ReadAt reads the file's bytes from off on, as [io.ReaderAt] asks. Consecutive
// clusters that are neighbours in the guest too are one read of the source.
//
// An error of the source is returned as it is, with the count of the bytes
// before it. A bitmap that does not match its segment's count is an error too:
// it would move every later cluster.
func (v *View) ReadAt(p []byte, off int64) (int, error) {
	if off < 0 {
		return 0, fmt.Errorf("read at negative offset %d", off)
	}
	n := 0
	for n < len(p) {
		at := off + int64(n)
		if at >= v.layout.end {
			return n, io.EOF
		}
		m, err := v.readArea(p[n:], at)
		n += m
		if err != nil {
			return n, err
		}
	}
	return n, nil
}

// readArea reads from off, which is in the file, to the end of p or of the area
// that off is in.
func (v *View) readArea(p []byte, off int64) (int, error) {
	l := &v.layout
	switch {
	case off < l.refTable:
		return v.readHeader(upTo(p, l.refTable-off), off), nil
	case off < l.refBlocks:
		return v.readRefTable(upTo(p, l.refBlocks-off), off-l.refTable), nil
	case off < l.l1:
		return v.readRefBlocks(upTo(p, l.l1-off), off-l.refBlocks), nil
	case off < l.l2:
		return v.readL1(upTo(p, l.l2-off), off-l.l1), nil
	case off < l.data:
		return v.readL2(upTo(p, l.data-off), off-l.l2)
	default:
		return v.readData(upTo(p, l.end-off), off-l.data)
	}
}

// upTo returns the first n bytes of p, or p if it is shorter.
func upTo(p []byte, n int64) []byte { return p[:min(int64(len(p)), n)] }

// bitmap asks for the bitmap of a segment and holds it against the count.
func (v *View) bitmap(segment int64) ([]uint64, error) {
	bitmap, err := v.src.Bitmap(int(segment))
	if err != nil {
		return nil, err
	}
	clusters, want := v.alloc.clustersOf(segment), v.alloc.allocated(segment)
	if int64(len(bitmap))*wordBits < clusters {
		return nil, fmt.Errorf("segment %d: bitmap of %d words for %d clusters", segment, len(bitmap), clusters)
	}
	if n := bitset.Ones(bitmap); n != want || n != bitset.OnesBefore(bitmap, clusters) {
		return nil, fmt.Errorf("segment %d: bitmap has %d clusters, %d of them in the segment, the count was %d",
			segment, n, bitset.OnesBefore(bitmap, clusters), want)
	}
	return bitmap, nil
}

// NextData is lseek(2) with SEEK_DATA. The file has no holes.
func (v *View) NextData(off int64) (int64, error) {
	if off < 0 || off >= v.layout.end {
		return 0, syscall.ENXIO
	}
	return off, nil
}

// NextHole is lseek(2) with SEEK_HOLE. The only hole is the one at the file's end.
func (v *View) NextHole(off int64) (int64, error) {
	if off < 0 || off >= v.layout.end {
		return 0, syscall.ENXIO
	}
	return v.layout.end, nil
}
