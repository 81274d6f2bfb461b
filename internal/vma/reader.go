package vma

import (
	"errors"
	"fmt"
	"io"
	"math/bits"
	"strings"
)

// A Reader reads an archive from its beginning to its end, once, and checks all
// of it that can be checked. What it takes and what it refuses is what Proxmox's
// own "vma extract" does, with these differences: it refuses drives that "vma
// extract" leaves out silently for want of a name, and what [Header.Validate]
// says. Nothing in the format covers the contents of the drives: a bit that is
// flipped there is seen only by the checksums of a compression around it.
//
// Its memory does not depend on the archive, except that a bit is kept of each
// cluster in those parts of a drive, of 256 MiB, of which some clusters have come
// and some have not.
type Reader struct {
	in     input
	header *Header
	index  [256]int  // of a drive in Header.Drives, by its ID; -1 for none
	seen   []seenSet // by that index

	extents int64 // that have been begun
	start   int64 // of the last one, in bytes from the beginning
	slots   [extentSlots]slot
	next    int // slot
	data    [clusterSize]byte
	err     error // that Next goes on to return
}

// A Cluster is 64 KiB of a drive.
type Cluster struct {
	Drive  int   // index into Header.Drives
	Number int64 // it begins at byte Number*ClusterSize of the drive
	// Mask has bit j set if block j is stored. All others are zeros, those
	// wholly beyond the end of the drive included.
	Mask uint16
	// Data is the blocks that are stored, in their order. What of the last lies
	// beyond the end of the drive is zeros. It is valid until the next call.
	Data []byte
}

// NewReader reads the header. Errors, like those of all methods, say what of the
// archive is wrong and where, without its name; offsets are those in the plain
// archive. An error of r is wrapped.
func NewReader(r io.Reader) (*Reader, error) {
	v := &Reader{in: input{r: r}}
	var err error
	if v.header, err = readHeader(&v.in); err != nil {
		return nil, err
	}
	budget := maxOpenPages
	for i := range v.index {
		v.index[i] = -1
	}
	for i := range v.header.Drives {
		d := &v.header.Drives[i]
		v.index[d.ID] = i
		v.seen = append(v.seen, seenSet{clusters: d.clusters(), open: map[int64]*seenPage{}, budget: &budget})
	}
	v.next = extentSlots
	return v, nil
}

// Header is what stands before the drives.
func (v *Reader) Header() *Header { return v.header }

// Next reads the next cluster, which may be any of any drive. It returns io.EOF
// where the archive ends, if every cluster of every drive has come, exactly once.
func (v *Reader) Next() (Cluster, error) {
	if v.err != nil {
		return Cluster{}, v.err
	}
	c, err := v.cluster()
	v.err = err
	return c, err
}

// Complete tells whether the clusters of a drive from first up to end have all
// come; those beyond the end of the drive count as if they had.
func (v *Reader) Complete(drive int, first, end int64) bool {
	s := &v.seen[drive]
	return s.holds(first, min(end, s.clusters))
}

func (v *Reader) cluster() (Cluster, error) {
	for {
		for ; v.next < extentSlots; v.next++ {
			if s := v.slots[v.next]; s.drive != 0 {
				v.next++
				return v.read(s)
			}
		}
		if err := v.extent(); err != nil {
			return Cluster{}, err
		}
	}
}

// extent reads the header of the next extent.
func (v *Reader) extent() error {
	var b [extentHeaderSize]byte
	v.start = v.in.at
	n, err := v.in.read(b[:])
	if err == io.EOF && n == 0 {
		return v.end()
	}
	v.extents++
	if err == io.EOF && v.missing() == "" {
		return v.wrong("all drives are complete, and %d bytes follow that are no extent", n)
	}
	if err == io.EOF {
		return v.wrong("it is cut off: it ends after %d bytes of the %d of its header", n, len(b))
	}
	if err != nil {
		return v.wrong("reading its header: %w", err)
	}
	if v.slots, err = decodeExtent(b[:], v.header.UUID); err != nil {
		return v.wrong("%w", err)
	}
	v.next = 0
	return nil
}

// read checks the cluster of a slot and reads its data.
func (v *Reader) read(s slot) (Cluster, error) {
	i := v.index[s.drive]
	if i < 0 {
		return Cluster{}, v.wrong("slot %d is of device %d, which the header does not list", v.next-1, s.drive)
	}
	d, number := &v.header.Drives[i], int64(s.cluster)
	if number >= v.seen[i].clusters {
		return Cluster{}, v.wrong("slot %d is cluster %d of %v, which has only %d: it lies beyond the drive's end", v.next-1, number, d, v.seen[i].clusters)
	}
	fresh, err := v.seen[i].add(number)
	if err != nil {
		return Cluster{}, v.wrong("slot %d, cluster %d of %v: %w", v.next-1, number, d, err)
	}
	if !fresh {
		return Cluster{}, v.wrong("slot %d is cluster %d of %v, which came before: no cluster may come twice", v.next-1, number, d)
	}
	left := d.Size - number*clusterSize // bytes of the drive from the cluster's beginning
	inside := uint16(1<<min((left+blockSize-1)/blockSize, blocksPerCluster) - 1)
	if s.mask&^inside != 0 && s.mask != 0xffff {
		return Cluster{}, v.wrong("slot %d, cluster %d of %v, has data beyond the drive's end (mask %#04x)", v.next-1, number, d, s.mask)
	}
	data := v.data[:bits.OnesCount16(s.mask)*blockSize]
	switch n, err := v.in.read(data); {
	case err == io.EOF:
		return Cluster{}, v.wrong("it is cut off: it ends at byte %d, after %d of the %d bytes of cluster %d of %v", v.in.at, n, len(data), number, d)
	case err != nil:
		return Cluster{}, v.wrong("reading cluster %d of %v: %w", number, d, err)
	}
	return clip(Cluster{i, number, s.mask, data}, inside, left), nil
}

// clip cuts off what lies beyond the end of the drive.
func clip(c Cluster, inside uint16, left int64) Cluster {
	c.Mask &= inside
	c.Data = c.Data[:bits.OnesCount16(c.Mask)*blockSize]
	last := uint16(1) << (left / blockSize % blocksPerCluster) // the block that the end lies in
	if part := left % blockSize; left < clusterSize && part != 0 && c.Mask&last != 0 {
		clear(c.Data[len(c.Data)-int(blockSize-part):])
	}
	return c
}

// end is the end of the file where an extent would begin.
func (v *Reader) end() error {
	missing := v.missing()
	if missing == "" {
		return io.EOF
	}
	return fmt.Errorf("it is cut off: it ends at byte %d after %d extents, and clusters are missing: %s", v.in.at, v.extents, missing)
}

// missing says which clusters have not come; "" if all have.
func (v *Reader) missing() string {
	var lacks []string
	for i := range v.seen {
		s, d := &v.seen[i], &v.header.Drives[i]
		if n := s.clusters - s.seen; n > 0 {
			lacks = append(lacks, fmt.Sprintf("%d of the %d of %v, the first is cluster %d", n, s.clusters, d, s.firstMissing()))
		}
	}
	return strings.Join(lacks, "; ")
}

// wrong says in which extent something is wrong.
func (v *Reader) wrong(format string, args ...any) error {
	return fmt.Errorf("extent %d at byte %d: %w", v.extents, v.start, fmt.Errorf(format, args...))
}

// An input counts what is read.
type input struct {
	r  io.Reader
	at int64 // bytes
}

// read fills p. The end of the input before that is io.EOF, with what came; an
// io.ErrUnexpectedEOF is one of the reader below and stays what it is.
func (in *input) read(p []byte) (n int, err error) {
	for n < len(p) && err == nil {
		var k int
		k, err = in.r.Read(p[n:])
		n += k
	}
	in.at += int64(n)
	if n == len(p) && errors.Is(err, io.EOF) {
		err = nil // comes again
	}
	return n, err
}
