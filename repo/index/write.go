package index

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"io"
	"os"

	"vaultfs/repo/format"
)

// A table file is
//
//	blocks of entries | fences | sessions | packs | trailer
//
// A block is blockSize bytes: entries as in an index run, zeros, CRC-32C.
// A fence is the first 8 bytes of a block's first ID. The trailer gives the
// lengths of the sections; a CRC-32C covers the three before it, one itself.
const (
	blockSize    = 4096
	blockEntries = (blockSize - 4) / format.RunEntrySize
	trailerSize  = 8 + 5*8 + 4 + 4
	tableMagic   = "VFSIDX_1"
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// A source gives sorted entries and the packs that they name.
type source struct {
	sessions []format.RunSession
	packs    []format.RunPack
	next     func() (e format.RunEntry, ok bool, err error)
	rewind   func() // to the first entry
}

// writeTable merges sources into a new table in dir that covers the runs.
func writeTable(dir string, sources []source, runs []format.RunName) (t *table, err error) {
	f, err := os.CreateTemp(dir, "vaultfs-*.idx")
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			f.Close()
			os.Remove(f.Name())
		}
	}()
	w := &tableWriter{w: bufio.NewWriterSize(f, 1<<20)}
	set := newPackSet()
	places := make([][]uint32, len(sources))
	for i, s := range sources {
		places[i] = set.add(s.sessions, s.packs)
	}
	if err := merge(sources, places, w.add); err != nil {
		return nil, err
	}
	if err := w.finish(set); err != nil {
		return nil, err
	}
	if t, err = openTable(f, runs); err != nil {
		return nil, fmt.Errorf("reading back a table: %v", err) // ErrTable is of sources alone
	}
	return t, nil
}

// merge gives the entries of all sources in order, with the places of their
// packs exchanged for the joined ones and without repetitions.
func merge(sources []source, places [][]uint32, emit func(format.RunEntry) error) error {
	heads := make([]format.RunEntry, len(sources))
	more := make([]bool, len(sources))
	advance := func(i int) (err error) {
		if heads[i], more[i], err = sources[i].next(); err == nil && more[i] {
			heads[i].Pack = places[i][heads[i].Pack]
		}
		return err
	}
	for i := range sources {
		if err := advance(i); err != nil {
			return err
		}
	}
	var group []format.RunEntry // entries of one ID
	for {
		least := -1
		for i := range sources {
			if more[i] && (least < 0 || compareID(heads[i].ID, heads[least].ID) < 0) {
				least = i
			}
		}
		if least < 0 || (len(group) > 0 && heads[least].ID != group[0].ID) {
			for _, e := range group {
				if err := emit(e); err != nil {
					return err
				}
			}
			group = group[:0]
		}
		if least < 0 {
			return nil
		}
		if !repeats(group, heads[least]) {
			group = append(group, heads[least])
		}
		if err := advance(least); err != nil {
			return err
		}
	}
}

func repeats(group []format.RunEntry, e format.RunEntry) bool {
	for _, g := range group {
		if g.Pack == e.Pack && g.Ordinal == e.Ordinal {
			return true
		}
	}
	return false
}

type tableWriter struct {
	w       *bufio.Writer
	block   []byte
	fences  []byte
	entries uint64
}

func (w *tableWriter) add(e format.RunEntry) error {
	if len(w.block) == 0 {
		w.fences = append(w.fences, e.ID[:8]...)
	}
	w.block = e.Append(w.block)
	w.entries++
	if len(w.block) == blockEntries*format.RunEntrySize {
		return w.flush()
	}
	return nil
}

func (w *tableWriter) flush() error {
	if len(w.block) == 0 {
		return nil
	}
	b := make([]byte, blockSize)
	copy(b, w.block)
	binary.BigEndian.PutUint32(b[blockSize-4:], crc32.Checksum(b[:blockSize-4], castagnoli))
	w.block = w.block[:0]
	_, err := w.w.Write(b)
	return err
}

func (w *tableWriter) finish(set packSet) error {
	if err := w.flush(); err != nil {
		return err
	}
	sum := crc32.New(castagnoli)
	out := io.MultiWriter(w.w, sum)
	if _, err := out.Write(w.fences); err != nil {
		return err
	}
	var sessions, packs []byte
	for _, s := range set.sessions {
		sessions = s.Append(sessions)
	}
	for _, p := range set.packs {
		packs = p.Append(packs)
	}
	if _, err := out.Write(sessions); err != nil {
		return err
	}
	if _, err := out.Write(packs); err != nil {
		return err
	}
	t := append([]byte(nil), tableMagic...)
	for _, n := range []uint64{w.entries, uint64(len(w.fences)), uint64(len(sessions)), uint64(len(packs)), uint64(len(set.sessions))} {
		t = binary.BigEndian.AppendUint64(t, n)
	}
	t = binary.BigEndian.AppendUint32(t, sum.Sum32())
	t = binary.BigEndian.AppendUint32(t, crc32.Checksum(t, castagnoli))
	if _, err := w.w.Write(t); err != nil {
		return err
	}
	return w.w.Flush()
}
