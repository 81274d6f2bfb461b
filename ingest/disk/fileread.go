package disk

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"syscall"

	"golang.org/x/sys/unix"
)

// fill reads p from the file at off. A file that has become shorter is an error.
func (f *file) fill(p []byte, off int64) error {
	n, err := f.ReadAt(p, off)
	if n == len(p) {
		return nil
	}
	if err == io.EOF {
		return fmt.Errorf("the file %q ends at %d, not at %d", f.path, off+int64(n), f.before.size)
	}
	if p, ok := errors.AsType[*fs.PathError](err); ok {
		err = p.Err
	}
	return fmt.Errorf("the file %q cannot be read at %d: %w", f.path, off+int64(n), err)
}

// A stretchOfFile is a run of data, or a hole.
type stretchOfFile struct {
	from, to int64
	data     bool
}

// data calls visit for the runs of [off, end) that may hold other than zeros, as
// the file system tells them (lseek(2), SEEK_DATA). Where it does not know, on a
// block device, and in a file that is not sparse, everything is data.
func (f *file) data(off, end int64, visit func(from, to int64)) {
	if !f.sparse {
		visit(off, end)
		return
	}
	for off < end {
		s := f.stretchAt(off)
		to := min(s.to, end)
		if s.data {
			visit(off, to)
		}
		off = to
	}
}

// stretchAt is the run of data or the hole that off lies in. The last answer is
// kept, for the kernel looks at every extent of a file up to the hole that it
// tells of.
func (f *file) stretchAt(off int64) stretchOfFile {
	if known := f.known.Load(); known != nil && known.from <= off && off < known.to {
		return *known
	}
	s := f.seek(off)
	f.known.Store(&s)
	return s
}

func (f *file) seek(off int64) stretchOfFile {
	size := max(f.before.size, off+1)
	data, err := f.Seek(off, unix.SEEK_DATA)
	if errors.Is(err, syscall.ENXIO) {
		return stretchOfFile{off, size, false}
	}
	if err == nil && data > off {
		return stretchOfFile{off, data, false}
	}
	var hole int64
	if err == nil {
		hole, err = f.Seek(off, unix.SEEK_HOLE)
	}
	if err != nil || hole <= off {
		return stretchOfFile{off, size, true}
	}
	return stretchOfFile{off, hole, true}
}
