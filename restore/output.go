package restore

import (
	"errors"
	"os"
	"sync/atomic"
	"unsafe"

	"golang.org/x/sys/unix"
)

// directMin is the length from which a piece is written past the page cache, in
// bytes. Shorter ones are gathered by the kernel, which makes fewer requests of
// them.
const directMin = 64 << 10

// An output is what a copier writes to. Large pieces go to the medium at once and
// past the page cache, if the file system can do that: nothing is then copied, no
// other file is pushed out of memory, and little is left to be made durable at
// the end.
type output struct {
	file    *os.File
	direct  *os.File    // the same file past the page cache; nil if that cannot be
	refused atomic.Bool // the file system has refused a piece that it was to write so
}

// newOutput is an output to a regular file, which stays the caller's.
func newOutput(f *os.File) *output {
	o := &output{file: f}
	direct, err := os.OpenFile(f.Name(), os.O_WRONLY|unix.O_DIRECT|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
	if err != nil {
		return o
	}
	if !sameFile(f, direct) {
		direct.Close()
		return o
	}
	o.direct = direct
	return o
}

// sameFile tells whether a file that was opened again is still the one that has the
// name: in a directory where others write, one of them may have put his own there.
func sameFile(a, b *os.File) bool {
	x, err := a.Stat()
	if err != nil {
		return false
	}
	y, err := b.Stat()
	return err == nil && os.SameFile(x, y)
}

// close ends writing past the page cache.
func (o *output) close() {
	if o.direct != nil {
		o.direct.Close()
	}
}

// writeAt writes p at off, in any order and by several goroutines.
func (o *output) writeAt(p []byte, off int64) error {
	if whole := len(p) / block * block; whole >= directMin && off%block == 0 && o.direct != nil && !o.refused.Load() {
		_, err := o.direct.WriteAt(p[:whole], off)
		switch {
		case errors.Is(err, unix.EINVAL): // it wants another alignment than that of any we know
			o.refused.Store(true)
		case err != nil || whole == len(p):
			return err
		default:
			p, off = p[whole:], off+int64(whole)
		}
	}
	_, err := o.file.WriteAt(p, off)
	return err
}

// alignedBuffer returns n bytes of memory that begin where writing past the page
// cache wants them to.
func alignedBuffer(n int64) []byte {
	b := make([]byte, n+block)
	skip := -uintptr(unsafe.Pointer(unsafe.SliceData(b))) % block
	return b[skip : int64(skip)+n : int64(skip)+n]
}

// room returns n bytes, of buf if it has as many.
func room(buf []byte, n int64) []byte {
	if int64(cap(buf)) >= n {
		return buf[:n]
	}
	return alignedBuffer(n)
}
