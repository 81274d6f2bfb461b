package fusefs

import (
	"context"
	"errors"
	"fmt"
	"io"
	"syscall"

	"github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"
)

// bulkRead is the length in bytes from which on a request is one of the kernel's own
// read-ahead, which has several under way at a time. They are decoded side by side
// and each straight into its answer, which is faster than through the cache.
const bulkRead = 512 << 10

// handle is an open file.
type handle struct {
	content content
	bulk    io.ReaderAt // the content without read-ahead of ours; nil if it has none
	path    string
	report  *reporter
	leave   func() // is called when it is closed
}

var (
	_ fs.FileReader   = (*handle)(nil)
	_ fs.FileLseeker  = (*handle)(nil)
	_ fs.FileFlusher  = (*handle)(nil)
	_ fs.FileReleaser = (*handle)(nil)
)

// Flush implements [fs.FileFlusher]: there is nothing to flush, and told so the
// kernel asks no more at each close. Closing a file then waits for nobody, which
// matters when this process starts another: a child closes inherited files while
// the Go runtime stands still.
func (h *handle) Flush(context.Context) syscall.Errno { return syscall.ENOSYS }

// Release implements [fs.FileReleaser].
func (h *handle) Release(context.Context) syscall.Errno {
	h.leave()
	return 0
}

// Read implements [fs.FileReader]. The kernel takes a short answer for the end of
// the file and shows zeros in the rest, so everything is read or nothing.
func (h *handle) Read(_ context.Context, dest []byte, off int64) (fuse.ReadResult, syscall.Errno) {
	want := max(0, min(int64(len(dest)), h.content.Size()-off))
	dest = dest[:want]
	var from io.ReaderAt = h.content
	if h.bulk != nil && len(dest) >= bulkRead {
		from = h.bulk
	}
	n, err := from.ReadAt(dest, off)
	if n == len(dest) {
		return fuse.ReadResultData(dest), 0
	}
	if err == nil || err == io.EOF {
		err = io.ErrUnexpectedEOF
	}
	return nil, h.failed("reading", off+int64(n), err)
}

// failed reports an error of an open file. Whatever it is, to its reader it is an
// input/output error.
func (h *handle) failed(doing string, off int64, err error) syscall.Errno {
	h.report.problem(doing+" "+h.path, fmt.Sprintf(" at %d", off), err)
	return syscall.EIO
}

// Lseek implements [fs.FileLseeker] for SEEK_DATA and SEEK_HOLE, the two that the
// kernel does not answer itself, by the rules of lseek(2).
func (h *handle) Lseek(_ context.Context, off uint64, whence uint32) (uint64, syscall.Errno) {
	size := uint64(h.content.Size())
	if off >= size {
		return 0, syscall.ENXIO
	}
	s, ok := h.content.(sparse)
	if !ok {
		s = dense(size)
	}
	var at int64
	var err error
	switch whence {
	case unix.SEEK_DATA:
		if at, err = s.NextData(int64(off)); err == io.EOF {
			return 0, syscall.ENXIO
		}
	case unix.SEEK_HOLE:
		if at, err = s.NextHole(int64(off)); err == io.EOF {
			at, err = int64(size), nil
		}
	default:
		return 0, syscall.EINVAL
	}
	switch {
	case errors.Is(err, syscall.ENXIO):
		return 0, syscall.ENXIO
	case err != nil:
		return 0, h.failed("seeking in", int64(off), err)
	}
	return min(uint64(at), size), 0
}

// dense is the sparse of content without holes, of a size in bytes.
type dense int64

func (d dense) NextData(off int64) (int64, error) { return off, nil }
func (d dense) NextHole(off int64) (int64, error) { return int64(d), nil }
