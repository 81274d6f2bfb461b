package index

import (
	"bufio"
	"encoding/binary"
	"hash/crc32"
	"io"
	"os"
	"sync/atomic"

	"vaultfs/repo/format"
)

// openTable reads what of a table is kept in memory. The names are those of the
// runs that its sets speak of.
func openTable(f *os.File, names []format.RunName) (*table, error) {
	st, err := f.Stat()
	if err != nil {
		return nil, err
	}
	trailer := make([]byte, trailerSize)
	if _, err := f.ReadAt(trailer, st.Size()-trailerSize); err != nil {
		return nil, ErrTable
	}
	l, ok := decodeLayout(trailer, st.Size())
	if !ok {
		return nil, ErrTable
	}
	t := &table{layout: l, file: f, trailer: trailer, runs: names, hot: newHot(l.blocks())}
	if err := t.readSections(); err != nil {
		return nil, err
	}
	t.nearPacks = make([]atomic.Pointer[nearPack], min(l.packs, maxNearPacks))
	t.live = make([]bool, len(t.runSets))
	t.weigh()
	return t, nil
}

func (t *table) readSections() error {
	sum := crc32.New(castagnoli)
	section := io.NewSectionReader(t.file, t.fencesAt(), t.setsAt()+t.setsSize-t.fencesAt())
	in := io.TeeReader(bufio.NewReaderSize(section, 1<<16), sum)
	t.fences = make([]uint64, t.blocks())
	err := eachRecord(in, len(t.fences), 8, func(i int, b []byte) { t.fences[i] = binary.BigEndian.Uint64(b) })
	if err != nil {
		return ErrTable
	}
	t.sessions = make([]format.SnapshotID, t.layout.sessions)
	err = eachRecord(in, len(t.sessions), sessionSize, func(i int, b []byte) { copy(t.sessions[i][:], b) })
	if err != nil {
		return ErrTable
	}
	b := make([]byte, t.setsSize)
	if _, err := io.ReadFull(in, b); err != nil || sum.Sum32() != t.sum {
		return ErrTable
	}
	return t.decodeSets(b)
}

func (t *table) decodeSets(b []byte) error {
	for range t.layout.sets {
		s, rest, ok := cutSet(b)
		if !ok {
			return ErrTable
		}
		for _, r := range s.runs {
			if int64(r) >= int64(len(t.runs)) {
				return ErrTable
			}
		}
		t.runSets, b = append(t.runSets, s), rest
	}
	return nil
}

// eachRecord reads n records of a size, many at a time.
func eachRecord(r io.Reader, n, size int, fn func(i int, b []byte)) error {
	const part = 1024 // records
	buf := make([]byte, min(part, n)*size)
	for at := 0; at < n; at += part {
		b := buf[:min(part, n-at)*size]
		if _, err := io.ReadFull(r, b); err != nil {
			return err
		}
		for i := 0; i*size < len(b); i++ {
			fn(at+i, b[i*size:][:size])
		}
	}
	return nil
}
