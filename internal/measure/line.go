package measure

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"sync/atomic"

	"vaultfs/chunk"
	"vaultfs/ingest"
	"vaultfs/repo/format"
	"vaultfs/repo/seal"
)

const (
	packSize   = 16 << 20 // bytes, as in a repository
	windowSize = 2 << 20  // that are read at once
	outSize    = 1 << 20  // that are written at once
)

// A line is one worker that does what an ingest does with the data of a disk:
// read, cut, name, look up, compress, seal, name the pack and, if there is a
// place to, write. Everything but the structure of a repository is there.
type line struct {
	cutter *chunk.Disk
	namer  *chunk.Namer
	seen   *table
	box    *seal.Box
	out    *file // nil to write nothing

	ordinal uint64
	packed  int // bytes of the open pack
	payload []byte
	sealed  []byte // that are not written yet
	aad     []byte

	chunks, bytes, newChunks, newBytes, stored int64
}

// keys are those of one measurement.
type keys struct{ cutting, naming, sealing [32]byte }

func newKeys() (k keys) {
	for _, key := range []*[32]byte{&k.cutting, &k.naming, &k.sealing} {
		rand.Read(key[:]) // never fails (crypto/rand)
	}
	return k
}

// lines counts all lines, so that no two seal under one nonce.
var lines atomic.Uint64

func newLine(k keys, seen *table, out *file) *line {
	return &line{cutter: chunk.NewDisk(k.cutting), namer: chunk.NewNamer(k.naming), seen: seen,
		box: seal.NewBox(k.sealing), out: out, ordinal: lines.Add(1) << 40}
}

// A window is data that was read; gap says that what follows does not adjoin.
type window struct {
	buf  []byte // room for chunk.DiskMax bytes, then the data, in whole grains
	data int64  // bytes of it
	gap  bool
	err  error
}

// through takes runs of an image through the line. With ahead, reading goes on
// beside the rest.
func (l *line) through(ctx context.Context, img ingest.Image, runs []ingest.Run, ahead bool, done func(n int64)) error {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	buffers := 1
	if ahead {
		buffers = 3
	}
	free, full := make(chan []byte, buffers), make(chan window, buffers+1) // room for an error, too
	for range buffers {
		free <- make([]byte, chunk.DiskMax+windowSize)
	}
	read := func(off, n int64, gap bool) bool {
		var w window
		select {
		case w.buf = <-free:
		case <-ctx.Done():
			full <- window{err: ctx.Err()}
			return false
		}
		whole := (n + chunk.Grain - 1) / chunk.Grain * chunk.Grain
		w.buf, w.data, w.gap = w.buf[:chunk.DiskMax+whole], n, gap
		clear(w.buf[chunk.DiskMax+n:])
		w.err = img.ReadAt(ctx, w.buf[chunk.DiskMax:chunk.DiskMax+n], off)
		full <- w
		return w.err == nil
	}
	if ahead {
		go func() {
			defer close(full)
			windowsOf(runs, read)
		}()
		err := l.take(full, free, done)
		stop()
		for range full { // until the reader has ended
		}
		return err
	}
	c := &carried{}
	var err error
	windowsOf(runs, func(off, n int64, gap bool) bool {
		if read(off, n, gap); err == nil {
			w := <-full
			if err = w.err; err == nil {
				done(w.data)
				err = l.window(c, w)
				free <- w.buf[:cap(w.buf)]
			}
		}
		return err == nil
	})
	return err
}

// windowsOf calls f for each window of the runs until it returns false.
func windowsOf(runs []ingest.Run, f func(off, n int64, gap bool) bool) {
	for i, r := range runs {
		for off, end := r.Off, r.Off+r.Len; off < end; {
			n := min(windowSize, end-off)
			adjoins := off+n < end || i+1 < len(runs) && runs[i+1].Off == end && n%chunk.Grain == 0
			if !f(off, n, !adjoins) {
				return
			}
			off += n
		}
	}
}

// take takes windows in until there are no more.
func (l *line) take(full <-chan window, free chan<- []byte, done func(n int64)) (err error) {
	c := &carried{}
	for w := range full {
		if err == nil {
			err = w.err
		}
		if err == nil {
			done(w.data)
			err = l.window(c, w)
		}
		if w.buf != nil {
			free <- w.buf[:cap(w.buf)]
		}
		if err != nil {
			break
		}
	}
	return err
}

// carried is what a window left over, a copy.
type carried struct{ rest []byte }

// window cuts a window and what is carried, and stores the chunks.
func (l *line) window(c *carried, w window) error {
	begin := chunk.DiskMax - len(c.rest)
	copy(w.buf[begin:], c.rest)
	data := w.buf[begin:]
	for len(data) > 0 {
		zeros, n := l.cutter.Next(data, w.gap)
		data = data[zeros:]
		if n == 0 {
			break
		}
		if err := l.store(data[:n]); err != nil {
			return err
		}
		data = data[n:]
	}
	c.rest = append(c.rest[:0], data...)
	return nil
}

// store puts a chunk that is not there yet into the open pack.
func (l *line) store(plain []byte) error {
	l.chunks, l.bytes = l.chunks+1, l.bytes+int64(len(plain))
	id := l.namer.Name(plain)
	if l.seen != nil && !l.seen.take(binary.LittleEndian.Uint64(id[:])) {
		return nil
	}
	l.newChunks, l.newBytes = l.newChunks+1, l.newBytes+int64(len(plain))
	l.payload = format.Payload(l.payload[:0], plain)
	l.seal(id, l.payload)
	if len(l.sealed) < outSize && l.packed < packSize {
		return nil
	}
	return l.flush(l.packed >= packSize)
}

func (l *line) seal(id chunk.ID, payload []byte) {
	l.aad = append(append(l.aad[:0], byte(format.Data)), id[:]...)
	before := len(l.sealed)
	l.sealed = l.box.Seal(l.sealed, l.ordinal, l.aad, payload)
	l.ordinal++
	l.packed += len(l.sealed) - before
	l.stored += int64(len(l.sealed) - before + perChunk - seal.Overhead)
}

// flush writes what is sealed, and ends the pack.
func (l *line) flush(ends bool) error {
	l.namer.Name(l.sealed) // a pack has its hash as a name
	if l.out != nil {
		if err := l.out.write(l.sealed, ends); err != nil {
			return err
		}
	}
	l.sealed = l.sealed[:0]
	if ends {
		l.packed = 0
	}
	return nil
}
