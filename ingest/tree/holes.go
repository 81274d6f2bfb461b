package tree

import (
	"cmp"
	"errors"
	"io"
	"slices"

	"golang.org/x/sys/unix"
	"vaultfs/repo"
)

// mayHaveHoles tells by the blocks that a file takes up whether it may be
// sparse. They are 512 bytes each, whatever the file system's own are.
func mayHaveHoles(st *unix.Stat_t) bool { return st.Blocks*512 < st.Size }

// dataRanges returns the runs of data of an open file of that many bytes, at
// most limit. If it has more, the smallest holes between them are taken as
// data: filled is their number.
func dataRanges(fd int, size int64, limit int) (ranges []repo.Range, filled int, err error) {
	for off := int64(0); off < size; {
		from, err := seek(fd, off, unix.SEEK_DATA)
		if errors.Is(err, unix.ENXIO) {
			break // a hole up to the end
		}
		if errors.Is(err, unix.EINVAL) {
			return []repo.Range{{Off: 0, Len: size}}, 0, nil // a file system that tells of no holes
		}
		if err != nil {
			return nil, 0, err
		}
		to, err := seek(fd, from, unix.SEEK_HOLE)
		if errors.Is(err, unix.ENXIO) {
			break // it has become shorter
		}
		if err != nil {
			return nil, 0, err
		}
		from, to = min(from, size), min(to, size)
		if to > from {
			ranges = append(ranges, repo.Range{Off: from, Len: to - from})
		}
		off = max(to, off+1)
		if len(ranges) >= 2*limit {
			ranges, filled = fillSmallest(ranges, limit), filled+len(ranges)-limit
		}
	}
	if len(ranges) > limit {
		ranges, filled = fillSmallest(ranges, limit), filled+len(ranges)-limit
	}
	return ranges, filled, nil
}

func seek(fd int, off int64, whence int) (at int64, err error) {
	err = again(func() (err error) {
		at, err = unix.Seek(fd, off, whence)
		return err
	})
	return at, err
}

// fillSmallest joins runs over the smallest holes between them until only
// limit are left.
func fillSmallest(ranges []repo.Range, limit int) []repo.Range {
	holes := make([]int, len(ranges)-1) // the hole i lies behind the run i
	for i := range holes {
		holes[i] = i
	}
	width := func(i int) int64 { return ranges[i+1].Off - ranges[i].Off - ranges[i].Len }
	slices.SortStableFunc(holes, func(a, b int) int { return cmp.Compare(width(a), width(b)) })
	fill := make([]bool, len(ranges))
	for _, i := range holes[:len(ranges)-limit] {
		fill[i] = true
	}
	left := ranges[:0]
	joined := false
	for i, r := range ranges {
		if joined {
			last := &left[len(left)-1]
			last.Len = r.Off + r.Len - last.Off
		} else {
			left = append(left, r)
		}
		joined = fill[i]
	}
	return left
}

// A rangeReader reads the runs of data of a file, one after the other. If the file
// has become shorter, zeros stand for what is missing, and short tells it.
type rangeReader struct {
	portion
	rest  []repo.Range
	short bool
}

func (r *rangeReader) Read(b []byte) (int, error) {
	for r.left == 0 {
		if len(r.rest) == 0 {
			return 0, io.EOF
		}
		r.off, r.left = r.rest[0].Off, r.rest[0].Len
		r.rest = r.rest[1:]
	}
	n, err := r.portion.Read(b)
	if errors.Is(err, io.EOF) {
		n = int(min(int64(len(b)), r.left))
		clear(b[:n])
		r.off, r.left, r.short, err = r.off+int64(n), r.left-int64(n), true, nil
	}
	return n, err
}
