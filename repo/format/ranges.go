package format

import (
	"encoding/binary"
	"fmt"
	"math"
)

// EncodeRanges makes the data chunk that lists the runs of data of a sparse
// file: sorted, not empty, with a hole between any two, at most MaxRanges.
func EncodeRanges(ranges []Range) []byte {
	b := binary.AppendUvarint(nil, uint64(len(ranges)))
	end := int64(0)
	for _, x := range ranges {
		b = binary.AppendUvarint(b, uint64(x.Off-end))
		b = binary.AppendUvarint(b, uint64(x.Len))
		end = x.Off + x.Len
	}
	return b
}

// DecodeRanges reads what EncodeRanges made for a file of size bytes, which has
// at least one hole. Stored is the sum of the runs' lengths, in bytes.
func DecodeRanges(b []byte, size int64) (ranges []Range, stored int64, err error) {
	r := reader{b: b}
	n := r.uint()
	if n > MaxRanges || n > uint64(len(r.b)/2) {
		return nil, 0, damaged("%d runs of data in %d bytes", n, len(b))
	}
	ranges = make([]Range, n)
	end := int64(0)
	for i := range ranges {
		gap, length := r.uint(), r.uint()
		left := uint64(size - end)
		if gap > left || length == 0 || length > left-gap || (gap == 0 && i > 0) {
			return nil, 0, damaged("a run of %d bytes after a hole of %d at byte %d of %d", length, gap, end, size)
		}
		ranges[i] = Range{end + int64(gap), int64(length)}
		end += int64(gap + length)
		stored += int64(length)
	}
	if stored == size {
		return nil, 0, damaged("the runs of data of a file leave no hole")
	}
	return ranges, stored, r.done()
}

// JoinRanges checks the runs of data of a file of size bytes, joins those that
// touch each other, and tells how many bytes they have together.
func JoinRanges(ranges []Range, size int64) (joined []Range, stored int64, err error) {
	end := int64(0)
	for _, x := range ranges {
		if x.Off < end || x.Len <= 0 || x.Off > math.MaxInt64-x.Len || x.Off+x.Len > size {
			return nil, 0, fmt.Errorf("%d bytes of data at byte %d, after byte %d, of a file of %d", x.Len, x.Off, end, size)
		}
		if n := len(joined); n > 0 && x.Off == end {
			joined[n-1].Len += x.Len
		} else {
			joined = append(joined, x)
		}
		end = x.Off + x.Len
		stored += x.Len
	}
	if len(joined) > MaxRanges {
		return nil, 0, fmt.Errorf("%d runs of data in a file, more than %d", len(joined), MaxRanges)
	}
	return joined, stored, nil
}
