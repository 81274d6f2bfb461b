package qcow2

import (
	"fmt"
	"io"
)

// readData reads the data area, with one read of the source for each run of
// clusters that are consecutive in the guest.
func (v *View) readData(p []byte, pos int64) (int, error) {
	n := 0
	for n < len(p) {
		rank, skip := (pos+int64(n))/clusterSize, (pos+int64(n))%clusterSize
		first, length, err := v.run(rank, divideUp(skip+int64(len(p)-n), clusterSize))
		if err != nil {
			return n, err
		}
		m, err := v.readGuest(upTo(p[n:], length*clusterSize-skip), first*clusterSize+skip)
		n += m
		if err != nil {
			return n, err
		}
	}
	return n, nil
}

// run finds the guest cluster of a rank, and how many allocated clusters follow
// one another from it on, up to limit. A run goes on over the borders of
// segments. It ends before a segment whose bitmap fails: what is before that
// segment can still be read, and the next run says what is wrong.
func (v *View) run(rank, limit int64) (first, length int64, err error) {
	segment := v.alloc.segmentOf(rank)
	bitmap, err := v.bitmap(segment)
	if err != nil {
		return 0, 0, err
	}
	inSegment := nthOne(bitmap, rank-v.alloc.before[segment])
	first = segment*v.alloc.perSegment + inSegment
	length = runOfOnes(bitmap, inSegment, limit)
	for length < limit && first+length == (segment+1)*v.alloc.perSegment {
		segment++
		if v.alloc.allocated(segment) == 0 {
			break
		}
		if bitmap, err = v.bitmap(segment); err != nil {
			break
		}
		length += runOfOnes(bitmap, 0, limit-length)
	}
	return first, length, nil
}

// readGuest reads guest bytes of allocated clusters. Past the disk's end, where
// its last cluster is partial, they are zeros.
func (v *View) readGuest(p []byte, off int64) (int, error) {
	inDisk := upTo(p, max(v.size-off, 0))
	n, err := v.src.ReadAt(inDisk, off)
	if n < len(inDisk) {
		if err == nil || err == io.EOF {
			err = fmt.Errorf("disk ends at %d of %d bytes: %w", off+int64(n), v.size, io.ErrUnexpectedEOF)
		}
		return n, err
	}
	clear(p[len(inDisk):])
	return len(p), nil
}
