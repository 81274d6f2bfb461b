package ingest

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// ErrChanged is of a file that was written to, replaced or removed; it ends a
// sentence that begins with "it was".
var ErrChanged = errors.New("while it was being read: start again when nothing else uses it")

// A File is a regular file that is backed up, held open from the first look to
// the commit.
type File struct {
	*os.File
	Path   string      // absolute
	Before fs.FileInfo // when it was opened
}

// OpenFile opens a file. The error is what to say of it, without its name.
func OpenFile(path string) (*File, error) {
	path, err := filepath.Abs(path)
	if err != nil {
		return nil, err
	}
	opened, err := os.OpenFile(path, os.O_RDONLY|unix.O_NONBLOCK, 0) // so that a fifo does not hang
	if err != nil {
		return nil, Bare(err)
	}
	info, err := opened.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = errors.New("it is no regular file; a stream is read with -")
	}
	if err != nil {
		opened.Close()
		return nil, Bare(err)
	}
	return &File{opened, path, info}, nil
}

// Unchanged compares the file, and what its path now names, with what was opened.
// An error is ErrChanged unless the file cannot be looked at.
func (f *File) Unchanged() error {
	held, err := f.Stat()
	if err != nil {
		return Bare(err)
	}
	named, err := os.Stat(f.Path)
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("it was removed %w", ErrChanged)
	}
	if err != nil {
		return Bare(err)
	}
	switch before := f.Before; {
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

// Bare is an error of the operating system without the path, which the caller
// names in its own way.
func Bare(err error) error {
	if p, ok := errors.AsType[*fs.PathError](err); ok {
		err = p.Err
	}
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("it does not exist (%w)", err)
	}
	return err
}
