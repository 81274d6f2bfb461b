package index

import (
	"bufio"
	"encoding/binary"
	"io"
	"sort"
	"sync"

	"vaultfs/chunk"
	"vaultfs/repo/format"
)

// blocks is memory for reading them.
var blocks = sync.Pool{New: func() any { return new([blockSize]byte) }}

// lookup appends the places of a chunk that runs in force list. Errors are ErrTable.
func (t *table) lookup(id chunk.ID, found []Location) ([]Location, error) {
	prefix := binary.BigEndian.Uint64(id[:])
	// The last block whose first ID may be at or before id, and those before
	// it that begin with the same 8 bytes.
	at := sort.Search(len(t.fences), func(i int) bool { return t.fences[i] > prefix }) - 1
	for ; at >= 0; at-- {
		var err error
		if found, err = t.scan(at, id, found); err != nil {
			return nil, err
		}
		if t.fences[at] != prefix {
			break
		}
	}
	return found, nil
}

// scan looks for a chunk in one block.
func (t *table) scan(block int, id chunk.ID, found []Location) ([]Location, error) {
	b := t.hot.get(block)
	n := t.blockLen(block)
	if b == nil {
		b = blocks.Get().(*[blockSize]byte)
		if _, err := t.block(block, b[:]); err != nil {
			return nil, err
		}
		if !t.hot.keep(block, b) {
			defer blocks.Put(b)
		}
	}
	entry := func(i int) []byte { return b[i*format.RunEntrySize:] }
	i := sort.Search(n, func(i int) bool { return string(entry(i)[:32]) >= string(id[:]) })
	for ; i < n && string(entry(i)[:32]) == string(id[:]); i++ {
		e := format.DecodeRunEntry(entry(i))
		p, set, err := t.pack(e.Pack)
		if err != nil {
			return nil, err
		}
		if !t.live[set] {
			continue
		}
		l, err := t.locate(e, p)
		if err != nil {
			return nil, err
		}
		found = append(found, l)
	}
	return found, nil
}

// block reads a block and returns its number of entries.
func (t *table) block(i int, b []byte) (int, error) {
	if _, err := t.file.ReadAt(b, int64(i)*blockSize); err != nil {
		return 0, t.fail(err)
	}
	if !sumRight(b) {
		return 0, t.fail(ErrTable)
	}
	return t.blockLen(i), nil
}

// blockLen is the number of entries in a block.
func (t *table) blockLen(i int) int { return int(min(blockEntries, t.entries-int64(i)*blockEntries)) }

// locate is the place of an entry in a pack of the table.
func (t *table) locate(e format.RunEntry, p format.RunPack) (l Location, err error) {
	secret, err := t.secret(int(p.Session))
	return Location{e.PackEntry, e.Ordinal, p, t.sessions[p.Session], secret}, err
}

// pack reads a pack and the number of its set.
func (t *table) pack(number uint32) (p format.RunPack, set uint32, err error) {
	if int64(number) >= t.packs {
		return p, 0, t.fail(ErrTable)
	}
	near := &t.nearPacks[number%uint32(len(t.nearPacks))]
	if n := near.Load(); n != nil && n.number == number {
		return n.pack, n.set, nil
	}
	var b [packSize]byte
	if _, err := t.file.ReadAt(b[:], t.packsAt()+int64(number)*packSize); err != nil {
		return p, 0, t.fail(err)
	}
	if p, set, err = t.decodePack(b[:]); err == nil {
		near.Store(&nearPack{number, set, p})
	}
	return p, set, err
}

func (t *table) decodePack(b []byte) (p format.RunPack, set uint32, err error) {
	p, set = format.DecodeRunPack(b), binary.BigEndian.Uint32(b[format.RunPackSize:])
	if !sumRight(b) || int64(p.Session) >= int64(len(t.sessions)) || int64(set) >= int64(len(t.runSets)) {
		return p, 0, t.fail(ErrTable)
	}
	return p, set, nil
}

// secret reads the sealed secret of a session.
func (t *table) secret(session int) ([]byte, error) {
	near := &t.nearSecrets[session%len(t.nearSecrets)]
	if n := near.Load(); n != nil && n.number == uint32(session) {
		return n.secret, nil
	}
	b := make([]byte, secretSize)
	if _, err := t.file.ReadAt(b, t.secretsAt()+int64(session)*secretSize); err != nil {
		return nil, t.fail(err)
	}
	if !sumRight(b) {
		return nil, t.fail(ErrTable)
	}
	var secret []byte
	if b[0] == 1 {
		secret = b[1 : secretSize-4 : secretSize-4]
	}
	near.Store(&nearSecret{uint32(session), secret})
	return secret, nil
}

func (t *table) names() []format.RunName     { return t.runs }
func (t *table) sets() []runSet              { return t.runSets }
func (t *table) owners() []format.SnapshotID { return t.sessions }
func (t *table) packCount() int              { return int(t.packs) }

func (t *table) packsByHash() packReader {
	section := io.NewSectionReader(t.file, t.packsAt(), t.packs*packSize)
	return &tablePacks{table: t, in: bufio.NewReaderSize(section, 1<<16)}
}

// tablePacks are the packs of a table that are still to be read.
type tablePacks struct {
	table *table
	in    *bufio.Reader
	n     uint32 // that were read
	b     [packSize]byte
}

func (r *tablePacks) next() (p sourcePack, ok bool, err error) {
	if int64(r.n) == r.table.packs {
		return p, false, nil
	}
	if _, err := io.ReadFull(r.in, r.b[:]); err != nil {
		return p, false, r.table.fail(err)
	}
	p.local = r.n
	r.n++
	p.RunPack, p.set, err = r.table.decodePack(r.b[:])
	return p, err == nil, err
}

func (t *table) entriesByID() (entryReader, error) {
	r := &tableEntries{newCursor(t)}
	if _, err := r.nextBlock(); err != nil {
		return nil, err
	}
	return r, r.check()
}

// tableEntries are the entries of a table, for a merge.
type tableEntries struct{ cursor }

func (r *tableEntries) entry() []byte {
	if r.at >= r.have {
		return nil
	}
	return r.cursor.entry()
}

func (r *tableEntries) next() error {
	if err := r.cursor.next(); err != nil {
		return err
	}
	return r.check()
}

// check looks whether the entry names one of the table's packs.
func (r *tableEntries) check() error {
	if e := r.entry(); e != nil && int64(entryPack(e)) >= r.table.packs {
		return r.table.fail(ErrTable)
	}
	return nil
}
