package store

import (
	"errors"
	"io"
	"os"
	"path"
	"time"

	"golang.org/x/sys/unix"
)

var errNotRegular = errors.New("not a regular file")

// osFile reads and writes through os.File, which retries interrupted calls.
type osFile struct {
	*os.File
}

func (f *osFile) write(p []byte, off int64) error {
	_, err := f.WriteAt(p, off)
	return err
}

func (f *osFile) truncate() error { return f.Truncate(0) }
func (f *osFile) sync() error     { return f.Sync() }

func (f *osFile) tryLock(exclusive bool) (bool, error) {
	how := unix.LOCK_SH
	if exclusive {
		how = unix.LOCK_EX
	}
	for {
		err := unix.Flock(int(f.Fd()), how|unix.LOCK_NB)
		switch err {
		case unix.EINTR:
		case unix.EWOULDBLOCK:
			return false, nil
		default:
			return err == nil, err
		}
	}
}

func (f *osFile) stat() (fileStat, error) {
	var st unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &st); err != nil {
		return fileStat{}, err
	}
	return statOf(&st), nil
}

// dropCache has effect on clean pages only, which those of a published object are.
func (f *osFile) dropCache() error {
	return unix.Fadvise(int(f.Fd()), 0, 0, unix.FADV_DONTNEED)
}

func statOf(st *unix.Stat_t) fileStat {
	kind := kindOther
	switch st.Mode & unix.S_IFMT {
	case unix.S_IFREG:
		kind = kindFile
	case unix.S_IFDIR:
		kind = kindDir
	}
	return fileStat{kind: kind, size: st.Size, modTime: time.Unix(st.Mtim.Unix()), dev: st.Dev, ino: st.Ino}
}

func statAt(fd int, base string) (fileStat, error) {
	var st unix.Stat_t
	for {
		err := unix.Fstatat(fd, base, &st, unix.AT_SYMLINK_NOFOLLOW)
		if err != unix.EINTR {
			return statOf(&st), err
		}
	}
}

func (o *osFS) stat(name string) (st fileStat, err error) {
	err = o.at(path.Dir(name), func(fd int) error {
		st, err = statAt(fd, path.Base(name))
		return err
	})
	return st, err
}

// reopen gives a directory its own file offset.
func (o *osFS) reopen(dir string) (*os.File, error) {
	var f *os.File
	err := o.at(dir, func(fd int) error {
		opened, err := openat(fd, ".", dirFlags, 0)
		if err == nil {
			f = os.NewFile(uintptr(opened), dir)
		}
		return err
	})
	return f, err
}

func (o *osFS) syncDir(name string) error {
	f, err := o.reopen(name)
	if err != nil {
		return err
	}
	defer f.Close()
	return f.Sync()
}

func (o *osFS) readDir(name string, fn func(string, fileStat) error) error {
	f, err := o.reopen(name)
	if err != nil {
		return err
	}
	defer f.Close()
	for {
		// Not ReadDir: it may lstat by the file's name, which is relative to the store.
		bases, err := f.Readdirnames(256)
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		for _, base := range bases {
			st, err := statAt(int(f.Fd()), base)
			if err == unix.ENOENT {
				continue
			}
			if err != nil {
				return err
			}
			if err := fn(base, st); err != nil {
				return err
			}
		}
	}
}
