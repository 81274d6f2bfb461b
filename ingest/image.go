// Package ingest turns what is to be backed up into the items of one session.
// This package holds what the kinds of source share; each kind has a package
// below it.
package ingest

import (
	"context"
	"io"
	"sync/atomic"
)

// An Image is a disk that is being read. Its methods are called by several
// goroutines at once.
type Image interface {
	// Size is the size of the guest's disk in bytes.
	Size() int64
	// Data returns the runs of [off, off+n) that may hold other than zeros,
	// sorted and without overlap.
	Data(ctx context.Context, off, n int64) ([]Run, error)
	// ReadAt fills p with the guest's bytes from off on.
	ReadAt(ctx context.Context, p []byte, off int64) error
}

// A Run is a range of a disk, in bytes.
type Run struct{ Off, Len int64 }

// Progress is what an ingest has done so far. It is polled by whoever shows it.
type Progress struct {
	Total atomic.Int64 // bytes of data to read, as far as is known
	Read  atomic.Int64 // bytes read from the source
	Done  atomic.Int64 // bytes read, cut and stored or found
}

// Reader is r, and what is read of it counts as read and done.
func (p *Progress) Reader(r io.Reader) io.Reader { return progressReader{r, p} }

type progressReader struct {
	r io.Reader
	p *Progress
}

func (r progressReader) Read(b []byte) (int, error) {
	n, err := r.r.Read(b)
	r.p.Read.Add(int64(n))
	r.p.Done.Add(int64(n))
	return n, err
}

// DataBytes adds up the data of an image.
func DataBytes(ctx context.Context, img Image) (total int64, err error) {
	const step = 1 << 30
	for off := int64(0); off < img.Size(); off += step {
		runs, err := img.Data(ctx, off, min(step, img.Size()-off))
		if err != nil {
			return 0, err
		}
		for _, r := range runs {
			total += r.Len
		}
	}
	return total, nil
}
