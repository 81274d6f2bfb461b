package vzdump

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
	"vaultfs/ingest"
)

// A file is an archive on disk, held open from the first look to the commit.
type file struct {
	*os.File
	path   string // absolute
	before fs.FileInfo
}

// openFile opens an archive. The error is what to say of it, without its name.
func openFile(path string) (*file, error) {
	path, err := filepath.Abs(path)
	if err != nil {
		return nil, err
	}
	opened, err := os.OpenFile(path, os.O_RDONLY|unix.O_NONBLOCK, 0) // so that a fifo does not hang
	if err != nil {
		return nil, bare(err)
	}
	info, err := opened.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = errors.New("it is no regular file; a stream is read with -")
	}
	if err != nil {
		opened.Close()
		return nil, bare(err)
	}
	return &file{opened, path, info}, nil
}

// bare is an error of the operating system without the path, which the caller
// names in its own way.
func bare(err error) error {
	if p, ok := errors.AsType[*fs.PathError](err); ok {
		err = p.Err
	}
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("it does not exist (%w)", err)
	}
	return err
}

// unchanged compares the file, and what its path now names, with what was
// opened.
func (f *file) unchanged() error {
	held, err := f.Stat()
	if err != nil {
		return bare(err)
	}
	named, err := os.Stat(f.path)
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("it was removed %w", ErrChanged)
	}
	if err != nil {
		return bare(err)
	}
	switch before := f.before; {
	case !os.SameFile(before, named):
		return fmt.Errorf("it was replaced %w", ErrChanged)
	case held.Size() != before.Size():
		return fmt.Errorf("it went from %d to %d bytes %w", before.Size(), held.Size(), ErrChanged)
	case !held.ModTime().Equal(before.ModTime()) || !changeTime(held).Equal(changeTime(before)):
		return fmt.Errorf("it was written to %w", ErrChanged)
	}
	return nil
}

// changeTime is when the file, its mode, owner, links or times were last
// changed.
func changeTime(info fs.FileInfo) time.Time {
	return time.Unix(info.Sys().(*syscall.Stat_t).Ctim.Unix())
}

// settling is how long ago a file that is complete was written to, at least: a
// copy that goes on writes all the time.
const settling = time.Minute

// fresh says that the file was written to just now, for an error about what it
// holds; else "".
func (f *file) fresh() string {
	age := time.Since(f.before.ModTime())
	if age < 0 || age > settling {
		return ""
	}
	return fmt.Sprintf(" (it was written to %.0f seconds before it was read: if it is still being copied, start again when that is done)", age.Seconds())
}

// identity tells an archive from any other without reading it.
func (f *file) identity() string {
	return identity(f.path, f.before)
}

func identity(path string, info fs.FileInfo) string {
	return fmt.Sprintf("%d bytes of %s: %s", info.Size(), info.ModTime().UTC().Format(time.RFC3339Nano), ingest.Printable(filepath.Base(path)))
}

// maxBeside bounds the files beside an archive that are kept, in bytes.
const maxBeside = 16 << 20

// openBeside opens a small file beside the archive; one that is not there is
// nil. A symbolic link is not followed: its target is no part of the backup.
func openBeside(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NONBLOCK|unix.O_NOFOLLOW, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, bare(err)
	}
	info, err := f.Stat()
	switch {
	case err != nil:
	case !info.Mode().IsRegular():
		err = errors.New("it is no regular file")
	case info.Size() > maxBeside:
		err = fmt.Errorf("it has %d bytes, more than %d", info.Size(), maxBeside)
	default:
		return f, nil
	}
	f.Close()
	return nil, bare(err)
}

// countingReader tells how much has been read.
type countingReader struct {
	r    io.Reader
	read func(n int64)
}

func (c countingReader) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.read(int64(n))
	return n, err
}
