package disk

import (
	"fmt"
	"io"
)

// QEMU reads what lies behind the end of an image's file as zeros. A copy that
// broke off would thus become a disk with holes where its data was, so what the
// tables of an image point at is compared with the size of the file first.

// cutOff is what to say of an image whose file has size bytes and should have
// end. What file that is, its own or its data file, is said by what.
func cutOff(what string, size, end uint64) error {
	return fmt.Errorf("is cut off: its %s has %d bytes, and data lies up to %d: is the copy complete?", what, size, end)
}

// tablePiece is how much of a table is read at once, in bytes.
const tablePiece = 64 << 10

// eachEntry calls visit for each of the n entries of width bytes of the table
// at off. The table may not be longer than the file, which has size bytes.
func eachEntry(r io.ReaderAt, size, off, n, width uint64, visit func(i uint64, entry []byte) error) error {
	if length := n * width; off > size || length > size-off {
		return cutOff("file", size, off+length)
	}
	piece := make([]byte, min(n*width, tablePiece))
	for i := uint64(0); i < n; {
		p := piece[:min((n-i)*width, tablePiece)]
		if _, err := r.ReadAt(p, int64(off+i*width)); err != nil {
			return fmt.Errorf("cannot be read (%w)", err)
		}
		for ; len(p) > 0; i, p = i+1, p[width:] {
			if err := visit(i, p[:width]); err != nil {
				return err
			}
		}
	}
	return nil
}

// pieces is how many pieces of a length make up a whole.
func pieces(whole, length uint64) uint64 {
	n := whole / length
	if whole%length != 0 {
		n++
	}
	return n
}
