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

// writeTable merges sources into a new table in dir. What no run in force lists
// is left out.
func writeTable(dir string, sources []source) (t *table, err error) {
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
	plan, err := newMergePlan(sources)
	if err != nil {
		return nil, err
	}
	w := &tableWriter{w: bufio.NewWriterSize(f, 1<<20), plan: plan}
	if err := w.write(); err != nil {
		return nil, err
	}
	if t, err = openTable(f, plan.runs); err != nil {
		return nil, fmt.Errorf("reading back a table: %v", err) // ErrTable is of sources alone
	}
	return t, nil
}

type tableWriter struct {
	w       *bufio.Writer
	plan    *mergePlan
	block   []byte
	fences  []byte
	entries int64
}

func (w *tableWriter) write() error {
	if err := w.plan.eachEntry(w.add); err != nil {
		return err
	}
	if err := w.flush(); err != nil {
		return err
	}
	if err := w.writeSecrets(); err != nil {
		return err
	}
	if err := w.writePacks(); err != nil {
		return err
	}
	return w.finish()
}

// add takes an entry, whose pack has that place.
func (w *tableWriter) add(entry []byte, place uint32) error {
	if len(w.block) == 0 {
		w.fences = append(w.fences, entry[:8]...)
	}
	w.block = append(w.block, entry...)
	binary.BigEndian.PutUint32(w.block[len(w.block)-format.RunEntrySize+33:], place)
	w.entries++
	w.plan.sets.list[w.plan.setOf[place]].entries++
	if len(w.block) == blockEntries*format.RunEntrySize {
		return w.flush()
	}
	return nil
}

func (w *tableWriter) flush() error {
	if len(w.block) == 0 {
		return nil
	}
	w.block = append(w.block, make([]byte, blockSize-4-len(w.block))...)
	_, err := w.w.Write(addSum(w.block, 0))
	w.block = w.block[:0]
	return err
}

func (w *tableWriter) writeSecrets() error {
	var b []byte
	for i := range w.plan.sessions {
		secret, err := w.plan.secret(i)
		if err != nil {
			return err
		}
		b = appendSecret(b[:0], secret)
		if _, err := w.w.Write(b); err != nil {
			return err
		}
	}
	return nil
}

func (w *tableWriter) writePacks() error {
	var b []byte
	return w.plan.eachPack(func(p format.RunPack, set uint32) error {
		b = appendPack(b[:0], p, set)
		_, err := w.w.Write(b)
		return err
	})
}

// finish writes what is kept in memory, and the trailer.
func (w *tableWriter) finish() error {
	sum := crc32.New(castagnoli)
	out := io.MultiWriter(w.w, sum)
	if _, err := out.Write(w.fences); err != nil {
		return err
	}
	for _, id := range w.plan.sessions {
		if _, err := out.Write(id[:]); err != nil {
			return err
		}
	}
	l := layout{
		entries:  w.entries,
		sessions: int64(len(w.plan.sessions)),
		packs:    int64(len(w.plan.setOf)),
		sets:     int64(len(w.plan.sets.list)),
	}
	for _, s := range w.plan.sets.list {
		b := appendSet(nil, s)
		l.setsSize += int64(len(b))
		if _, err := out.Write(b); err != nil {
			return err
		}
	}
	l.sum = sum.Sum32()
	if _, err := w.w.Write(l.encode()); err != nil {
		return err
	}
	return w.w.Flush()
}
