// Package index answers where a chunk lies, from a local copy of the
// repository's index runs.
//
// The copy is a row of immutable sorted tables in a cache directory, read with
// pread through fences in memory, and a small table in memory for what was
// added last. Everything in the directory can be deleted at any time: Sync
// fetches what is missing from the repository again.
//
// What a run says of a pack stays true; it counts as long as a run that says it
// is in force. So tables outlive the runs that they were made of: each pack notes
// which runs list it, a new head takes names of runs away, and only runs that were
// not there before are fetched. A run that lists a pack lists all its chunks.
// Tables are merged so that each is at least twice as large as the next, and made
// anew when more than half of one is out of force.
//
// A View is all of the index at one moment, with numbers for a collector's
// bitmaps.
package index

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"sync"

	"vaultfs/chunk"
	"vaultfs/repo/format"
)

// A Location is a place where a chunk is stored.
type Location struct {
	Chunk        format.PackEntry
	Ordinal      uint32 // of the chunk in its pack
	Pack         format.RunPack
	Session      format.SnapshotID // that wrote the pack
	SealedSecret []byte            // of the session; nil for one without data packs
}

// defaultSpill is the number of entries that are kept in memory before they
// become a table.
const defaultSpill = 1 << 16

// An Index looks chunks up. It may be used by several goroutines at once.
type Index struct {
	dir       string
	temporary bool // dir is not ours: tables there have no name once they are written
	spillAt   int  // entries in memory that become a table

	mu        sync.RWMutex
	tables    []*table // large to small
	recent    *memory
	condemned map[format.PackHash]uint64 // and the epoch that said so
	removed   map[format.PackHash]bool
	damaged   map[format.PackHash]bool
	stale     bool // a table was dropped since the last Sync
	loading   bool // many runs, one after the other
	unmerged  bool // tables could not be merged
	renamed   bool // a run stands in the place of others since the catalog was written
	unlisted  bool // not all that is known stands in a head
}

// Open opens the index copy in dir, which is made if it is missing. Without a
// dir the copy is a temporary one. What cannot be used there is ignored.
func Open(dir string) (*Index, error) {
	x := &Index{dir: dir, recent: newMemory(), spillAt: defaultSpill}
	if dir == "" {
		x.dir, x.temporary = os.TempDir(), true
		return x, nil
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("index cache: %w", err)
	}
	var lost map[format.RunName]bool
	x.tables, lost = readCatalog(dir)
	x.forget(lost)
	return x, nil
}

// Close writes what is only in memory to the cache and releases the files.
func (x *Index) Close() error {
	x.mu.Lock()
	defer x.mu.Unlock()
	var err error
	if !x.temporary && len(x.recent.runs) > 0 {
		err = x.spill()
	} else if x.renamed {
		x.saveCatalog()
	}
	for _, t := range x.tables {
		t.close()
	}
	x.tables = nil
	return err
}

// Sync makes the index that of a head: load is called for each run that the
// copy does not have yet, or has lost.
func (x *Index) Sync(h *format.Head, load func(format.RunName) (*format.Run, error)) error {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.condemned, x.removed = map[format.PackHash]uint64{}, map[format.PackHash]bool{}
	for _, c := range h.Condemned {
		x.condemned[c.Pack] = c.Epoch
	}
	for _, p := range h.Removed {
		x.removed[p] = true
	}
	x.damaged = map[format.PackHash]bool{}
	for _, p := range h.Damaged {
		x.damaged[p] = true
	}
	x.unlisted = false
	x.dropStale(h)
	err := x.loadMissing(h, load)
	if x.stale { // a merge found a table that cannot be read
		err = x.loadMissing(h, load)
	}
	return err
}

func (x *Index) loadMissing(h *format.Head, load func(format.RunName) (*format.Run, error)) error {
	x.stale, x.loading = false, true
	defer func() {
		x.loading = false
		if x.settle() {
			x.saveCatalog()
		}
	}()
	have := x.covered()
	var errs []error
	for _, name := range h.Runs {
		if have[name] {
			continue
		}
		run, err := load(name)
		if err == nil {
			err = x.add(name, run)
		}
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// Clear forgets everything. What is added until the next Sync can be looked up
// but is not Usable: no head lists it, so a collector may remove it.
func (x *Index) Clear() {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.dropStale(new(format.Head))
	x.condemned, x.removed, x.damaged = nil, nil, nil
	x.stale, x.unlisted = false, true
}

// Add makes the entries of a run known, as of now in memory.
func (x *Index) Add(name format.RunName, run *format.Run) error {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.add(name, run)
}

func (x *Index) add(name format.RunName, run *format.Run) error {
	if len(x.recent.entries)+len(run.Entries) < x.spillAt {
		x.recent.add(name, run)
		return nil
	}
	return x.spill(oneRun(name, run))
}

// Replace says that a run now stands in the place of others with the same
// entries. If any of those was lost, Sync fetches the new run.
func (x *Index) Replace(old []format.RunName, by format.RunName) {
	x.mu.Lock()
	defer x.mu.Unlock()
	have, gone := x.covered(), map[format.RunName]bool{}
	for _, n := range old {
		if !have[n] {
			return
		}
		gone[n] = true
	}
	swap := func(runs []format.RunName) {
		for i, n := range runs {
			if gone[n] {
				runs[i] = by
			}
		}
	}
	x.renamed = true
	swap(x.recent.runs)
	for _, t := range x.tables {
		swap(t.runs)
	}
}

// spill makes a table of what is in memory and of more sources.
func (x *Index) spill(more ...source) error {
	if len(x.recent.runs) > 0 {
		more = append(more, x.recent)
	}
	if len(more) == 0 {
		return nil
	}
	t, err := x.write(more)
	if err != nil {
		return err
	}
	x.tables, x.recent = append(x.tables, t), newMemory()
	x.settle()
	x.saveCatalog()
	return nil
}

// write makes a table. Where the cache cannot be written to, from then on the
// directory for temporary files takes its place: a backup does not fail for its
// cache.
func (x *Index) write(sources []source) (*table, error) {
	t, err := x.create(sources)
	if err != nil && !x.temporary && !errors.Is(err, ErrTable) {
		x.dir, x.temporary = os.TempDir(), true
		t, err = x.create(sources)
	}
	return t, wrap(err)
}

func (x *Index) create(sources []source) (*table, error) {
	t, err := writeTable(x.dir, sources)
	if err == nil && x.temporary {
		err = os.Remove(t.file.Name()) // it is read by its descriptor; nothing is left behind
	}
	return t, err
}

// writeUnnamed makes a table whose file has no name any more.
func (x *Index) writeUnnamed(s source) (*table, error) {
	t, err := x.write([]source{s})
	if err == nil && !x.temporary {
		err = wrap(os.Remove(t.file.Name()))
	}
	if errors.Is(err, fs.ErrNotExist) {
		err = nil // another process tidied up
	}
	return t, err
}

func wrap(err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("index cache: %w", err)
}

// Lookup returns every place where a chunk is stored, the best first. A
// table that cannot be read is dropped: see Stale.
func (x *Index) Lookup(id chunk.ID) []Location {
	found, ok := x.lookup(id)
	if !ok {
		x.mu.Lock()
		x.dropUnreadable()
		x.mu.Unlock()
	}
	return found
}

func (x *Index) lookup(id chunk.ID) (found []Location, ok bool) {
	x.mu.RLock()
	defer x.mu.RUnlock()
	found, ok = x.recent.lookup(id, nil), true
	for _, t := range x.tables {
		var err error
		if found, err = t.lookup(id, found); err != nil {
			ok = false
		}
	}
	found = slices.DeleteFunc(found, func(l Location) bool { return x.removed[l.Pack.Hash] })
	found = distinct(found)
	slices.SortStableFunc(found, func(a, b Location) int {
		return cmp.Compare(x.rank(a.Pack.Hash), x.rank(b.Pack.Hash))
	})
	return found, ok
}

// distinct drops the places that another table lists as well.
func distinct(found []Location) []Location {
	for i := 1; i < len(found); i++ {
		same := func(l Location) bool { return l.Ordinal == found[i].Ordinal && l.Pack.Hash == found[i].Pack.Hash }
		if slices.ContainsFunc(found[:i], same) {
			found = slices.Delete(found, i, i+1)
			i--
		}
	}
	return found
}

// rank tells how little a pack is to be relied on.
func (x *Index) rank(p format.PackHash) int {
	if x.damaged[p] {
		return 2
	}
	if _, condemned := x.condemned[p]; condemned {
		return 1
	}
	return 0
}

// Usable returns the places by which a new snapshot may name a chunk: those in
// packs that a head lists, and does not call condemned or damaged.
func (x *Index) Usable(id chunk.ID) []Location {
	found := x.Lookup(id)
	x.mu.RLock()
	defer x.mu.RUnlock()
	if x.unlisted {
		return nil
	}
	return slices.DeleteFunc(found, func(l Location) bool { return x.rank(l.Pack.Hash) > 0 })
}

// FirstUsable returns those places of Usable that are in the first part of the
// index that has any. More tells whether Usable may have others.
func (x *Index) FirstUsable(id chunk.ID) (found []Location, more bool) {
	x.mu.RLock()
	defer x.mu.RUnlock()
	if x.unlisted {
		return nil, false
	}
	useless := func(l Location) bool { return x.removed[l.Pack.Hash] || x.rank(l.Pack.Hash) > 0 }
	if found = slices.DeleteFunc(x.recent.lookup(id, nil), useless); len(found) > 0 {
		return found, len(x.tables) > 0
	}
	for i, t := range x.tables {
		var err error
		if found, err = t.lookup(id, found); err != nil {
			return nil, true
		}
		if found = slices.DeleteFunc(found, useless); len(found) > 0 {
			return found, i+1 < len(x.tables)
		}
	}
	return nil, false
}

// Len is the number of entries, duplicates included.
func (x *Index) Len() (n int64) {
	x.mu.RLock()
	defer x.mu.RUnlock()
	for _, t := range x.tables {
		n += t.count
	}
	return n + int64(len(x.recent.entries))
}

func compareID(a, b chunk.ID) int { return bytes.Compare(a[:], b[:]) }
