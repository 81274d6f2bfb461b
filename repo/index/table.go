package index

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"sort"
	"sync"
	"sync/atomic"

	"vaultfs/chunk"
	"vaultfs/repo/format"
)

// ErrTable says that a table of the local copy cannot be read. The index is then
// Stale, and Sync mends it.
var ErrTable = errors.New("a table of the local index is damaged")

// A table is an immutable sorted file of entries. Fences and sessions are in
// memory; entries and packs are read when they are asked for.
type table struct {
	file     *os.File
	runs     []format.RunName
	trailer  []byte
	entries  int64
	fences   []uint64
	sessions []format.RunSession
	packs    int64        // number of packs
	packsAt  int64        // offset of the pack section
	bad      atomic.Bool  // it could not be read
	shares   atomic.Int32 // that are held beside the first
	// near are packs that were read last, by number: chunks that are looked up
	// one after the other are mostly in a few packs.
	near [nearPacks]atomic.Pointer[nearPack]
}

const nearPacks = 16

type nearPack struct {
	number uint32
	pack   format.RunPack
}

// blocks is memory for reading them.
var blocks = sync.Pool{New: func() any { return new([blockSize]byte) }}

// openTable reads the sections behind the entries and checks them.
func openTable(f *os.File, runs []format.RunName) (*table, error) {
	st, err := f.Stat()
	if err != nil {
		return nil, err
	}
	tail := make([]byte, trailerSize)
	if _, err := f.ReadAt(tail, st.Size()-trailerSize); err != nil {
		return nil, ErrTable
	}
	if string(tail[:8]) != tableMagic ||
		crc32.Checksum(tail[:trailerSize-4], castagnoli) != binary.BigEndian.Uint32(tail[trailerSize-4:]) {
		return nil, ErrTable
	}
	var n [5]int64
	for i := range n {
		n[i] = int64(binary.BigEndian.Uint64(tail[8+8*i:]))
	}
	t := &table{file: f, runs: runs, trailer: tail, entries: n[0]}
	blocks := n[1] / 8
	if blocks != (n[0]+blockEntries-1)/blockEntries || blocks*blockSize+n[1]+n[2]+n[3]+trailerSize != st.Size() {
		return nil, ErrTable
	}
	return t, t.readSections(blocks, n[1], n[2], n[3], n[4], binary.BigEndian.Uint32(tail[trailerSize-8:]))
}

func (t *table) readSections(blocks, fences, sessions, packs, count int64, want uint32) error {
	sum := crc32.New(castagnoli)
	section := io.NewSectionReader(t.file, blocks*blockSize, fences+sessions+packs)
	in := io.TeeReader(section, sum)
	b := make([]byte, fences+sessions)
	if _, err := io.ReadFull(in, b); err != nil {
		return ErrTable
	}
	if _, err := io.Copy(io.Discard, in); err != nil || sum.Sum32() != want {
		return ErrTable
	}
	t.fences = make([]uint64, blocks)
	for i := range t.fences {
		t.fences[i] = binary.BigEndian.Uint64(b[8*i:])
	}
	t.packs, t.packsAt = packs/format.RunPackSize, blocks*blockSize+fences+sessions
	for rest := b[fences:]; count > 0; count-- {
		s, more, err := format.CutRunSession(rest)
		if err != nil {
			return ErrTable
		}
		t.sessions, rest = append(t.sessions, s), more
	}
	return nil
}

// share makes one more close necessary before the file is closed.
func (t *table) share() *table {
	t.shares.Add(1)
	return t
}

func (t *table) close() {
	if t.shares.Add(-1) < 0 {
		t.file.Close()
	}
}

// fail notes that the table cannot be read.
func (t *table) fail(err error) error {
	t.bad.Store(true)
	if errors.Is(err, ErrTable) {
		return err
	}
	return fmt.Errorf("%w: %w", ErrTable, err)
}

// lookup appends the places of a chunk that the table lists. Errors are ErrTable.
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
	b := blocks.Get().(*[blockSize]byte)
	defer blocks.Put(b)
	n, err := t.block(block, b[:])
	if err != nil {
		return nil, err
	}
	entry := func(i int) []byte { return b[i*format.RunEntrySize:] }
	i := sort.Search(n, func(i int) bool { return string(entry(i)[:32]) >= string(id[:]) })
	for ; i < n && string(entry(i)[:32]) == string(id[:]); i++ {
		l, err := t.locate(format.DecodeRunEntry(entry(i)))
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
	if crc32.Checksum(b[:blockSize-4], castagnoli) != binary.BigEndian.Uint32(b[blockSize-4:]) {
		return 0, t.fail(ErrTable)
	}
	return int(min(blockEntries, t.entries-int64(i)*blockEntries)), nil
}

func (t *table) locate(e format.RunEntry) (l Location, err error) {
	p, err := t.pack(e.Pack)
	if err != nil {
		return l, err
	}
	s := t.sessions[p.Session]
	return Location{e.PackEntry, e.Ordinal, p, s.ID, s.SealedSecret}, nil
}

// pack reads an entry of the pack section.
func (t *table) pack(number uint32) (p format.RunPack, err error) {
	near := &t.near[number%nearPacks]
	if n := near.Load(); n != nil && n.number == number {
		return n.pack, nil
	}
	if int64(number) >= t.packs {
		return p, t.fail(ErrTable)
	}
	var b [format.RunPackSize]byte
	if _, err := t.file.ReadAt(b[:], t.packsAt+int64(number)*format.RunPackSize); err != nil {
		return p, t.fail(err)
	}
	p = format.DecodeRunPack(b[:])
	if int64(p.Session) >= int64(len(t.sessions)) {
		return p, t.fail(ErrTable)
	}
	near.Store(&nearPack{number, p})
	return p, nil
}

// source gives all entries, for a merge. Errors are ErrTable.
func (t *table) source() source {
	packs, err := t.allPacks()
	var block [blockSize]byte
	next, in, have := 0, 0, 0
	return source{t.sessions, packs, func() (e format.RunEntry, ok bool, _ error) {
		if err != nil {
			return e, false, err
		}
		if in == have {
			if next == len(t.fences) {
				return e, false, nil
			}
			if have, err = t.block(next, block[:]); err != nil {
				return e, false, err
			}
			next, in = next+1, 0
		}
		e = format.DecodeRunEntry(block[in*format.RunEntrySize:])
		in++
		if int64(e.Pack) >= t.packs {
			return e, false, t.fail(ErrTable)
		}
		return e, true, nil
	}, func() { next, in, have = 0, 0, 0 }}
}

func (t *table) allPacks() ([]format.RunPack, error) {
	packs := make([]format.RunPack, 0, t.packs)
	err := t.eachPack(func(p format.RunPack) { packs = append(packs, p) })
	return packs, err
}

// eachPack reads the pack section, a part at a time. Errors are ErrTable.
func (t *table) eachPack(fn func(format.RunPack)) error {
	const part = 1024 // packs
	b := make([]byte, min(part, t.packs)*format.RunPackSize)
	for at := int64(0); at < t.packs; at += part {
		b = b[:min(part, t.packs-at)*format.RunPackSize]
		if _, err := t.file.ReadAt(b, t.packsAt+at*format.RunPackSize); err != nil {
			return t.fail(err)
		}
		for rest := b; len(rest) > 0; rest = rest[format.RunPackSize:] {
			p := format.DecodeRunPack(rest[:format.RunPackSize])
			if int64(p.Session) >= int64(len(t.sessions)) {
				return t.fail(ErrTable)
			}
			fn(p)
		}
	}
	return nil
}
