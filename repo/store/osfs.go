package store

import (
	"fmt"
	"os"
	"path"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// osFS is the operating system's file system below one directory. Every path
// is walked from the open root one element at a time with O_NOFOLLOW, so that
// no symbolic link leads out of the store.
type osFS struct {
	root *os.File
}

const dirFlags = unix.O_RDONLY | unix.O_DIRECTORY | unix.O_NOFOLLOW

func openOS(root string) (*osFS, error) {
	f, err := os.OpenFile(root, unix.O_RDONLY|unix.O_DIRECTORY, 0)
	if err != nil {
		return nil, err
	}
	return &osFS{root: f}, nil
}

func (o *osFS) close() error { return o.root.Close() }

// openat retries when a signal interrupts it; Go's scheduler sends many.
func openat(dir int, base string, flags int, mode uint32) (int, error) {
	for {
		fd, err := unix.Openat(dir, base, flags|unix.O_CLOEXEC, mode)
		if err != unix.EINTR {
			return fd, err
		}
	}
}

// at calls fn with a descriptor of the directory dir.
func (o *osFS) at(dir string, fn func(fd int) error) error {
	root := int(o.root.Fd())
	if dir == "." {
		return fn(root)
	}
	fd := root
	for elem := range strings.SplitSeq(dir, "/") {
		next, err := openat(fd, elem, dirFlags, 0)
		if fd != root {
			unix.Close(fd)
		}
		if err == unix.ENOTDIR || err == unix.ELOOP {
			return fmt.Errorf("%s in %s: %w or a symbolic link", elem, dir, err)
		}
		if err != nil {
			return err
		}
		fd = next
	}
	defer unix.Close(fd)
	return fn(fd)
}

// openAt opens base in dir as a file of ours.
func (o *osFS) openAt(dir, base string, flags int) (*osFile, error) {
	var f *osFile
	err := o.at(dir, func(fd int) error {
		opened, err := openat(fd, base, flags, 0o600)
		if err == nil {
			f = &osFile{File: os.NewFile(uintptr(opened), path.Join(dir, base))}
		}
		if err == unix.EPERM && removed(fd) {
			return unix.ENOENT // ext4's answer to O_TMPFILE in a directory that was removed
		}
		return err
	})
	return f, err
}

// removed reports whether an open directory has no name any more.
func removed(fd int) bool {
	var st unix.Stat_t
	return unix.Fstat(fd, &st) == nil && st.Nlink == 0
}

func (o *osFS) open(name string, write bool) (file, error) {
	flags := unix.O_RDONLY
	if write {
		flags = unix.O_RDWR
	}
	// O_NONBLOCK: a FIFO that somebody put there must not hang us.
	f, err := o.openAt(path.Dir(name), path.Base(name), flags|unix.O_NOFOLLOW|unix.O_NONBLOCK|unix.O_NOCTTY)
	if err == unix.ELOOP {
		return nil, fmt.Errorf("symbolic link: %w", err)
	}
	if err == unix.EISDIR {
		return nil, unix.ENOENT
	}
	if err != nil {
		return nil, err
	}
	st, err := f.stat()
	switch {
	case err != nil:
	case st.kind == kindDir:
		err = unix.ENOENT
	case st.kind != kindFile:
		err = errNotRegular
	default:
		return f, nil
	}
	f.Close()
	return nil, err
}

func (o *osFS) createNameless(dir string) (file, error) {
	f, err := o.openAt(dir, ".", unix.O_RDWR|unix.O_TMPFILE)
	if err != nil {
		return nil, err
	}
	return f, nil
}

func (o *osFS) createNamed(name string) (file, error) {
	f, err := o.openAt(path.Dir(name), path.Base(name), unix.O_RDWR|unix.O_CREAT|unix.O_EXCL|unix.O_NOFOLLOW)
	if err != nil {
		return nil, err
	}
	return f, nil
}

// link goes through /proc as open(2) advises for O_TMPFILE; AT_EMPTY_PATH
// needs a capability or a recent kernel, and helps where /proc is missing.
func (o *osFS) link(f file, name string) error {
	src := int(f.(*osFile).Fd())
	return o.at(path.Dir(name), func(fd int) error {
		proc := "/proc/self/fd/" + strconv.Itoa(src)
		err := unix.Linkat(unix.AT_FDCWD, proc, fd, path.Base(name), unix.AT_SYMLINK_FOLLOW)
		if err == unix.ENOENT {
			return unix.Linkat(src, "", fd, path.Base(name), unix.AT_EMPTY_PATH)
		}
		return err
	})
}

func (o *osFS) rename(oldName, newName string, replace bool) error {
	flags := uint(unix.RENAME_NOREPLACE)
	if replace {
		flags = 0
	}
	return o.at(path.Dir(oldName), func(from int) error {
		return o.at(path.Dir(newName), func(to int) error {
			return unix.Renameat2(from, path.Base(oldName), to, path.Base(newName), flags)
		})
	})
}

func (o *osFS) unlink(name string) error {
	return o.at(path.Dir(name), func(fd int) error { return unix.Unlinkat(fd, path.Base(name), 0) })
}

func (o *osFS) mkdir(name string) error {
	return o.at(path.Dir(name), func(fd int) error { return unix.Mkdirat(fd, path.Base(name), 0o700) })
}

func (o *osFS) rmdir(name string) error {
	return o.at(path.Dir(name), func(fd int) error { return unix.Unlinkat(fd, path.Base(name), unix.AT_REMOVEDIR) })
}

func (o *osFS) usage() (usage, error) {
	var st unix.Statfs_t
	if err := unix.Fstatfs(int(o.root.Fd()), &st); err != nil {
		return usage{}, err
	}
	return usage{
		free:  int64(st.Bavail) * st.Frsize,
		total: int64(st.Blocks) * st.Frsize,
		magic: uint32(st.Type),
	}, nil
}
