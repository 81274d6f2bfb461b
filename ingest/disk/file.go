package disk

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// A file is one of the files that an image's bytes come from. It is held open
// from the first look at it until the commit.
type file struct {
	*os.File
	path   string // absolute
	before state
	sparse bool                          // may have holes
	known  atomic.Pointer[stretchOfFile] // what the file system told last
}

// state is what changes when a file is written to or replaced.
type state struct {
	dev, ino     uint64
	size         int64 // bytes
	blocks       int64 // of blockSize bytes, that the file takes up; not compared
	mtime, ctime time.Time
	device       bool // a block device: size and times of its node say nothing
}

// openFile opens a regular file or a block device, which nobody may have open
// for writing. A last part of path that is a symbolic link is followed only if
// follow is set. The error is what to say of the file, without its name.
func openFile(path string, follow bool) (*file, error) {
	path, err := filepath.Abs(path)
	if err != nil {
		return nil, err
	}
	stat, flags := os.Stat, os.O_RDONLY|unix.O_NONBLOCK
	if !follow {
		stat, flags = os.Lstat, flags|unix.O_NOFOLLOW
	}
	info, err := stat(path)
	if err == nil {
		err = readable(info.Mode())
	}
	if err != nil {
		return nil, bare(err)
	}
	if isDevice(info.Mode()) {
		flags |= unix.O_EXCL // fails if it is mounted or part of another device
	}
	opened, err := os.OpenFile(path, flags, 0)
	if errors.Is(err, unix.EBUSY) {
		return nil, errors.New("is in use by this host (mounted?): unmount it, or back up a snapshot of it")
	}
	if err != nil {
		return nil, bare(err)
	}
	f := &file{File: opened, path: path}
	if err := f.settle(info); err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

func isDevice(m fs.FileMode) bool { return m&fs.ModeDevice != 0 && m&fs.ModeCharDevice == 0 }

// readable refuses what is no image by its nature.
func readable(m fs.FileMode) error {
	switch {
	case m.IsRegular(), isDevice(m):
		return nil
	case m.IsDir():
		return errors.New("is a directory")
	case m&fs.ModeSymlink != 0:
		return errors.New("is a symbolic link")
	}
	return errors.New("is neither a file nor a block device")
}

// bare is an error of the operating system without the path, which the caller
// names in its own way.
func bare(err error) error {
	if p, ok := errors.AsType[*fs.PathError](err); ok {
		err = p.Err
	}
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("does not exist (%w)", err)
	}
	return fmt.Errorf("cannot be opened (%w)", err)
}

// clockTick is more than the granularity of the times that the kernel gives
// files.
const clockTick = 20 * time.Millisecond

// settle notes the file's state. A file written to just now may be written to
// again within the same tick of the clock without a trace, so that is waited out.
func (f *file) settle(seen fs.FileInfo) error {
	info, err := f.Stat()
	if err != nil {
		return bare(err)
	}
	if !os.SameFile(info, seen) {
		return errors.New("was replaced while it was being opened")
	}
	if f.before, err = f.now(info); err != nil {
		return err
	}
	if age := time.Since(f.before.ctime); age >= 0 && age < clockTick && !f.before.device {
		time.Sleep(clockTick - age)
		return f.settle(seen)
	}
	f.sparse = f.before.mayHaveHoles()
	return f.inUse()
}

// blockSize is what stat(2) counts a file's space in.
const blockSize = 512

func (f *file) now(info fs.FileInfo) (state, error) {
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return state{}, fmt.Errorf("cannot be looked at (stat gives a %T)", info.Sys())
	}
	s := state{
		dev: st.Dev, ino: st.Ino, size: info.Size(), blocks: st.Blocks, mtime: info.ModTime(),
		ctime: time.Unix(st.Ctim.Unix()), device: isDevice(info.Mode()),
	}
	if s.device {
		size, err := f.Seek(0, io.SeekEnd)
		if err != nil {
			return state{}, fmt.Errorf("cannot be measured (%w)", err)
		}
		s.size = size
	}
	return s, nil
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
		return fmt.Errorf("was removed %w", ErrChanged)
	}
	if err != nil {
		return bare(err)
	}
	for _, info := range []fs.FileInfo{named, held} {
		now, err := f.now(info)
		if err != nil {
			return err
		}
		if what := f.before.compare(now); what != "" {
			return fmt.Errorf("%s %w: start again when nothing else uses it", what, ErrChanged)
		}
	}
	return nil
}

// mayHaveHoles tells whether a file takes up less space than it has bytes.
func (s state) mayHaveHoles() bool { return !s.device && s.blocks*blockSize < s.size }

// compare says what happened between two states; "" is nothing.
func (s state) compare(later state) string {
	switch {
	case s.dev != later.dev || s.ino != later.ino:
		return "was replaced"
	case s.size != later.size:
		return "was resized"
	case s.device:
		return ""
	case !s.mtime.Equal(later.mtime):
		return "was written to"
	case !s.ctime.Equal(later.ctime):
		return "was changed (its owner, mode, links or times)"
	}
	return ""
}
