package index

import (
	"errors"
	"sync"

	"vaultfs/repo/format"
)

// A View is all that an index lists at one moment, with a number for each entry
// and each pack. It stays as it is whatever the index does later, until it is
// closed. It is read with pread, so that it takes little memory whatever its
// size: 48 bytes for each pack, and 4 more for each table that lists it. It may
// be used by several goroutines at once.
//
// Removed packs and what they held are not in it, and neither is what no run in
// force lists. Condemned and damaged packs are in it. Each place of a chunk is in
// it once.
//
// Where a part of the local copy turns out to be damaged, the error is an
// ErrTable and the index is Stale: Sync mends it, and then a new view is made.
type View struct {
	index   *Index
	tables  []viewTable
	packs   *Packs
	entries int64
	close   sync.Once
}

// A viewTable is a table, and how its entries and packs are numbered in a view.
type viewTable struct {
	*table
	base int64 // number of the first entry, a multiple of 64
	// global is the number of each of the table's packs. Those that are not in the
	// view, or are taken from another table, have notInView.
	global []int32
}

const notInView = -1

// An Entry is a chunk in a pack.
type Entry struct {
	Number  int64  // of the entry in the view
	Pack    int    // number of the pack in the view
	Ordinal uint32 // of the chunk in the pack
	format.PackEntry
}

// View makes a view of the index.
func (x *Index) View() (*View, error) {
	x.mu.Lock()
	defer x.mu.Unlock()
	v := &View{index: x}
	err := v.takeTables()
	if err == nil {
		err = v.numberPacks()
	}
	if err != nil {
		v.Close()
		x.dropUnreadable()
		return nil, wrap(err)
	}
	return v, nil
}

// takeTables shares the tables of the index. What is in memory becomes a table
// without a name.
func (v *View) takeTables() error {
	for _, t := range v.index.tables {
		v.add(t.share())
	}
	if len(v.index.recent.entries) == 0 {
		return nil
	}
	t, err := v.index.writeUnnamed(v.index.recent)
	if err == nil {
		v.add(t)
	}
	return err
}

func (v *View) add(t *table) {
	v.tables = append(v.tables, viewTable{table: t, base: v.entries})
	v.entries += (t.entries + 63) &^ 63
}

// numberPacks lists the packs, and notes for each table which number each of
// its packs has.
func (v *View) numberPacks() (err error) {
	sources := make([]source, len(v.tables))
	for i, t := range v.tables {
		sources[i] = t.table
		v.tables[i].global = make([]int32, t.packs)
		for k := range v.tables[i].global {
			v.tables[i].global[k] = notInView
		}
	}
	if v.packs, err = v.index.listPacks(sources); err != nil {
		return err
	}
	for i, p := range v.packs.List {
		v.tables[p.table].global[p.local] = int32(i)
	}
	return nil
}

// Close releases the view's files.
func (v *View) Close() error {
	v.close.Do(func() {
		for _, t := range v.tables {
			t.close()
		}
	})
	return nil
}

// Entries is the bound of the entries' numbers, which begin at 0. Not every
// number has an entry.
func (v *View) Entries() int64 { return v.entries }

// Packs are the packs, sorted by hash, each once. The place in this list is the
// pack's number.
func (v *View) Packs() *Packs { return v.packs }

// Location is the place of an entry, with all that is needed to read it.
func (v *View) Location(e Entry) (Location, error) {
	p := v.packs.List[e.Pack]
	t := v.tables[p.table]
	pack, _, err := t.pack(p.local)
	if err != nil {
		return Location{}, v.failed(err)
	}
	l, err := t.locate(format.RunEntry{PackEntry: e.PackEntry, Ordinal: e.Ordinal}, pack)
	return l, v.failed(err)
}

// failed tells the index that a table cannot be read.
func (v *View) failed(err error) error {
	if errors.Is(err, ErrTable) {
		v.index.mu.Lock()
		v.index.dropUnreadable()
		v.index.mu.Unlock()
	}
	return err
}
