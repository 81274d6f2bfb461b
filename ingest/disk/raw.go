package disk

import (
	"context"
	"errors"
	"fmt"
	"io"
	"syscall"

	"golang.org/x/sys/unix"
	"vaultfs/ingest"
)

// A rawImage is a file or a block device whose bytes are the disk's. Like QEMU
// it rounds the size up to sectors.
type rawImage struct {
	f    *file
	size int64 // of the file, in bytes
}

func newRawImage(f *file) *rawImage { return &rawImage{f, f.before.size} }

func (r *rawImage) Size() int64 { return (r.size + ingest.Sector - 1) / ingest.Sector * ingest.Sector }

// Data asks the file system for the holes (lseek(2), SEEK_DATA). Where it does
// not know, and on a block device, everything is data.
func (r *rawImage) Data(ctx context.Context, off, n int64) (runs []ingest.Run, err error) {
	for end := min(off+n, r.size); off < end; {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		data, hole := r.next(off, end)
		if data >= end {
			break
		}
		runs = append(runs, ingest.Run{Off: data, Len: min(hole, end) - data})
		off = hole
	}
	return runs, nil
}

// next returns the next run of data from off on: [data, hole).
func (r *rawImage) next(off, end int64) (data, hole int64) {
	data, err := r.f.Seek(off, unix.SEEK_DATA)
	if errors.Is(err, syscall.ENXIO) {
		return end, end
	}
	if err == nil {
		hole, err = r.f.Seek(data, unix.SEEK_HOLE)
	}
	if err != nil || data < off || hole <= data {
		return off, end
	}
	return data, hole
}

// ReadAt reads zeros between the end of the file and that of its last sector. A
// file that has become shorter is an error.
func (r *rawImage) ReadAt(_ context.Context, p []byte, off int64) error {
	inside := max(min(int64(len(p)), r.size-off), 0)
	clear(p[inside:])
	n, err := r.f.ReadAt(p[:inside], off)
	if err == io.EOF && int64(n) < inside {
		return fmt.Errorf("the file ends at %d, not at %d", off+int64(n), r.size)
	}
	if int64(n) == inside {
		return nil
	}
	return err
}
