package index

import (
	"errors"

	"vaultfs/chunk"
	"vaultfs/repo/format"
)

// A View is all that an index lists at one moment, with a number for each entry
// and each pack. It stays as it is whatever the index does later, until it is
// closed. It is read with pread, so that it takes little memory whatever its
// size. It may be used by several goroutines at once.
//
// Entries and packs of which all that lists them is out of force are not in it.
type View struct{}

// View makes a view of the index.
func (x *Index) View() (*View, error) { return nil, errors.New("not there yet") }

// Close releases the view's files.
func (v *View) Close() error { return nil }

// Entries is the number of entries; they are numbered from 0.
func (v *View) Entries() int64 { return 0 }

// Packs are the packs, sorted by hash, each once. The place in this list is the
// pack's number.
func (v *View) Packs() *Packs { return nil }

// An Entry is a chunk in a pack.
type Entry struct {
	Number  int64  // of the entry in the view
	Pack    int    // number of the pack in the view
	Ordinal uint32 // of the chunk in the pack
	format.PackEntry
}

// Find calls fn for each place of each of the chunks, which are sorted; at is
// the chunk's place in ids. Sorted IDs in large numbers are found by going
// through the tables in a row.
func (v *View) Find(ids []chunk.ID, fn func(at int, e Entry) error) error { return nil }

// Each calls fn for every entry, by rising number.
func (v *View) Each(fn func(e Entry) error) error { return nil }

// Location is the place of an entry, with all that is needed to read it.
func (v *View) Location(e Entry) (l Location, err error) { return l, errors.New("not there yet") }

// A Bitmap has a bit for each entry of a view.
type Bitmap []uint64

// NewBitmap returns a bitmap of zeros.
func (v *View) NewBitmap() Bitmap { return make(Bitmap, (v.Entries()+63)/64) }

// Translate makes, of a bitmap of an earlier view of the same index, the bitmap
// of this one: a bit is set if, and only if, an entry of the same chunk has its
// bit set in the earlier one. What both views share is copied, not looked up.
func (v *View) Translate(from *View, marks Bitmap) (Bitmap, error) {
	return nil, errors.New("not there yet")
}
