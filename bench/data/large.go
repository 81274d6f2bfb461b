package data

import (
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
)

// A large disk repeats the content of guests. From the second time on a grain in
// each stretch is noise, so that few chunks are found twice.
const (
	grain   = 4096
	stretch = 32 * grain // less than the average chunk of any program
)

// Large makes a raw disk of that many bytes of data of the disks of guests.
func (m Maker) Large(ctx context.Context, size int64, guests ...Item) (Item, error) {
	var raws []string
	for _, g := range guests {
		raw, err := m.Raw(ctx, g)
		if err != nil {
			return Item{}, err
		}
		raws = append(raws, raw.Path)
	}
	path, err := m.make(fmt.Sprintf("large-%d.raw", size/1_000_000), func(temp string) error { return repeat(ctx, temp, size, raws) })
	if err != nil {
		return Item{}, err
	}
	about := fmt.Sprintf("the data of %d guests' disks again and again; after the first time 4 KiB of noise in each %d KiB", len(raws), stretch>>10)
	return item("large disk", path, about)
}

// repeat writes a disk. The noise is the same each time.
func repeat(ctx context.Context, path string, size int64, raws []string) error {
	out, err := os.Create(path)
	if err != nil {
		return err
	}
	defer out.Close()
	w := &repeater{ctx: ctx, out: out, left: size, random: rand.NewChaCha8([32]byte{}), buf: make([]byte, stretch)}
	for w.left > 0 {
		before := w.left
		for _, raw := range raws {
			if err := w.append(raw); err != nil {
				return err
			}
		}
		if w.left == before {
			return fmt.Errorf("%d disks without any data", len(raws))
		}
		w.round++
	}
	return out.Close()
}

type repeater struct {
	ctx    context.Context
	out    io.Writer
	left   int64 // bytes to write
	round  int
	random *rand.ChaCha8
	buf    []byte // a stretch
}

// append writes what a raw disk has other than zeros, in stretches.
func (w *repeater) append(raw string) error {
	f, err := os.Open(raw)
	if err != nil {
		return err
	}
	defer f.Close()
	for w.left > 0 && w.ctx.Err() == nil {
		n, err := io.ReadFull(f, w.buf)
		if n == 0 && err == io.EOF {
			return nil
		}
		if err != nil && err != io.ErrUnexpectedEOF {
			return err
		}
		if empty(w.buf[:n]) {
			continue
		}
		if w.round > 0 {
			at := int(w.random.Uint64()%uint64(len(w.buf)/grain)) * grain
			w.random.Read(w.buf[at : at+grain])
		}
		n = int(min(int64(n), w.left))
		if _, err := w.out.Write(w.buf[:n]); err != nil {
			return err
		}
		w.left -= int64(n)
	}
	return w.ctx.Err()
}

func empty(p []byte) bool {
	for ; len(p) >= 8; p = p[8:] {
		if binary.LittleEndian.Uint64(p) != 0 {
			return false
		}
	}
	return true
}
