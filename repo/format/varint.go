package format

import "encoding/binary"

// A reader takes minimal unsigned varints (as in encoding/binary) off a slice.
type reader struct {
	b   []byte
	bad bool
}

// uint returns the next number; after bad it is 0.
func (r *reader) uint() uint64 {
	v, n := binary.Uvarint(r.b)
	if n <= 0 || (n > 1 && r.b[n-1] == 0) {
		r.bad, r.b = true, nil
		return 0
	}
	r.b = r.b[n:]
	return v
}

// done reports damage unless everything was read and was well formed.
func (r *reader) done() error {
	if r.bad {
		return damaged("a number is cut off or not minimal")
	}
	if len(r.b) != 0 {
		return damaged("%d bytes too many", len(r.b))
	}
	return nil
}
