package index

import (
	"math/bits"

	"vaultfs/chunk"
)

// A Bitmap has a bit for each entry of a view. It is not safe to be written by
// several goroutines at once.
type Bitmap []uint64

// NewBitmap returns a bitmap of zeros.
func (v *View) NewBitmap() Bitmap { return make(Bitmap, v.entries/64) }

// Has tells whether the bit of an entry is set.
func (b Bitmap) Has(number int64) bool { return b[number/64]&(1<<(number%64)) != 0 }

// Set sets the bit of an entry.
func (b Bitmap) Set(number int64) { b[number/64] |= 1 << (number % 64) }

// Count is the number of bits that are set.
func (b Bitmap) Count() (n int64) {
	for _, w := range b {
		n += int64(bits.OnesCount64(w))
	}
	return n
}

// Translate makes, of a bitmap of an earlier view, the bitmap of this one: the
// bit of an entry is set if, and only if, an entry of the same chunk has its bit
// set in the earlier one. A chunk's entries there have all their bits set or
// none, as they are found by Find. Tables that both views share are copied; bits
// of numbers without an entry are as they were. For each of the others the
// tables of the earlier view are gone through once.
func (v *View) Translate(from *View, marks Bitmap) (Bitmap, error) {
	to := v.NewBitmap()
	for i := range v.tables {
		t := &v.tables[i]
		if at := from.sharedWith(t); at >= 0 {
			base := from.tables[at].base
			copy(to[t.base/64:], marks[base/64:(base+t.entries+63)/64])
			continue
		}
		if err := v.translate(t, from, marks, to); err != nil {
			return nil, err
		}
	}
	return to, nil
}

// sharedWith is the place of a table of another view, if this one has it and
// shows all entries that the other one shows of it; -1 if not.
func (v *View) sharedWith(t *viewTable) int {
	for i, own := range v.tables {
		if own.table != t.table {
			continue
		}
		for k, number := range t.global {
			if number != notInView && own.global[k] == notInView {
				return -1
			}
		}
		return i
	}
	return -1
}

// translateBatch is the number of chunks that are looked for at a time: 2 MiB of
// IDs.
const translateBatch = 1 << 16

// translate sets the bits of one table's entries.
func (v *View) translate(t *viewTable, from *View, marks, to Bitmap) error {
	var ids []chunk.ID
	var numbers []int64 // of entries
	var places []int    // of their chunks in ids
	marked := make([]bool, translateBatch)
	flush := func() error {
		clear(marked)
		err := from.Find(ids, func(at int, e Entry) error {
			marked[at] = marked[at] || marks.Has(e.Number)
			return nil
		})
		for i, number := range numbers {
			if marked[places[i]] {
				to.Set(number)
			}
		}
		ids, numbers, places = ids[:0], numbers[:0], places[:0]
		return err
	}
	err := t.each(func(e Entry) error {
		if len(ids) == 0 || ids[len(ids)-1] != e.ID {
			if len(ids) == translateBatch {
				if err := flush(); err != nil {
					return err
				}
			}
			ids = append(ids, e.ID)
		}
		numbers, places = append(numbers, e.Number), append(places, len(ids)-1)
		return nil
	})
	if err != nil {
		return v.failed(err)
	}
	return flush()
}
