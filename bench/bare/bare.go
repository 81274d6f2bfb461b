// Package bare does with a disk what cannot be left out, and nothing else: what
// remains between it and vaultfs is what a repository costs.
package bare

import (
	"context"
	"crypto/rand"
	"errors"
	"io"
	"os"
	"runtime"
	"sync"
	"sync/atomic"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"

	"vaultfs/chunk"
	"vaultfs/repo/format"
	"vaultfs/repo/seal"
)

// stretch is what a worker takes at a time, in bytes: little, so that it is in the
// processor's caches when it is cut, named and compressed.
const stretch = 4 << 20

// Pipeline reads the data of a raw disk, cuts it, names each chunk, and
// compresses, seals and writes each that is new to one file, which is not
// synced. Each core has a worker.
func Pipeline(ctx context.Context, image, out string) error {
	w, err := os.Create(out)
	if err != nil {
		return err
	}
	defer w.Close()
	p := &pipeline{out: w, names: chunk.NewNamer(secret()), cutter: chunk.NewDisk(secret()), box: seal.NewBox(secret())}
	if err := eachStretch(ctx, image, func() func([]byte) error { return (&worker{pipeline: p}).store }); err != nil {
		return err
	}
	return w.Close()
}

// Hash reads the data of a raw disk, and names each half megabyte of it. Each
// core has a worker.
func Hash(ctx context.Context, image string) error {
	names := chunk.NewNamer(secret())
	return eachStretch(ctx, image, func() func([]byte) error {
		return func(p []byte) error {
			for ; len(p) > 0; p = p[min(len(p), chunk.DiskMax):] {
				names.Name(p[:min(len(p), chunk.DiskMax)])
			}
			return nil
		}
	})
}

type pipeline struct {
	names  *chunk.Namer
	cutter *chunk.Disk
	box    *seal.Box
	next   atomic.Uint64 // ordinal of a sealed chunk
	seen   sync.Map      // of chunk.ID
	mu     sync.Mutex
	out    *os.File
}

type worker struct {
	*pipeline
	payload, sealed []byte
}

// store is given a stretch of whole grains.
func (w *worker) store(p []byte) error {
	w.sealed = w.sealed[:0]
	for len(p) > 0 {
		zeros, n := w.cutter.Next(p, true)
		if n == 0 {
			break
		}
		piece := p[zeros : zeros+n]
		p = p[zeros+n:]
		id := w.names.Name(piece)
		if _, known := w.seen.LoadOrStore(id, nil); known {
			continue
		}
		w.payload = format.Payload(w.payload[:0], piece)
		w.sealed = w.box.Seal(w.sealed, w.next.Add(1), id[:], w.payload)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	_, err := w.out.Write(w.sealed)
	return err
}

// eachStretch gives the data of a raw disk to workers, which newWorker makes.
func eachStretch(ctx context.Context, image string, newWorker func() func([]byte) error) error {
	f, err := os.Open(image)
	if err != nil {
		return err
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		return err
	}
	var next atomic.Int64
	g, ctx := errgroup.WithContext(ctx)
	for range runtime.GOMAXPROCS(0) {
		g.Go(func() error {
			work, buf := newWorker(), make([]byte, stretch)
			for start := next.Add(stretch) - stretch; start < st.Size(); start = next.Add(stretch) - stretch {
				if err := eachRun(f, start, min(start+stretch, st.Size()), buf, work); err != nil {
					return err
				}
				if err := ctx.Err(); err != nil {
					return err
				}
			}
			return nil
		})
	}
	return g.Wait()
}

// eachRun gives what a file holds between start and end to fn, hole by hole left
// out.
func eachRun(f *os.File, start, end int64, buf []byte, fn func([]byte) error) error {
	for start < end {
		data, err := unix.Seek(int(f.Fd()), start, unix.SEEK_DATA)
		if errors.Is(err, unix.ENXIO) || data >= end {
			return nil
		}
		if err != nil {
			return err
		}
		hole, err := unix.Seek(int(f.Fd()), data, unix.SEEK_HOLE)
		if err != nil {
			return err
		}
		start = min(hole, end)
		n := (start - data + chunk.Grain - 1) / chunk.Grain * chunk.Grain
		if got, err := f.ReadAt(buf[:n], data); err != nil && !errors.Is(err, io.EOF) {
			return err
		} else if int64(got) < n {
			clear(buf[got:n])
		}
		if err := fn(buf[:n]); err != nil {
			return err
		}
	}
	return nil
}

func secret() (key [32]byte) {
	rand.Read(key[:])
	return key
}
