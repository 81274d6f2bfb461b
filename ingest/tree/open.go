package tree

import (
	"errors"
	"fmt"
	"io"
	"strconv"
	"sync/atomic"

	"golang.org/x/sys/unix"
)

// errReplaced says that a name is no longer the kind of thing that it was when
// it was looked at.
var errReplaced = errors.New("was replaced by something else while it was looked at")

// A handle is an open directory. It is closed when nobody needs it any more:
// the walk, and every file of it that is still to be read.
type handle struct {
	fd    int
	users atomic.Int32
}

func newHandle(fd int) *handle {
	h := &handle{fd: fd}
	h.users.Store(1)
	return h
}

func (h *handle) share() *handle {
	h.users.Add(1)
	return h
}

func (h *handle) release() {
	if h.users.Add(-1) == 0 {
		_ = unix.Close(h.fd) // nothing was written
	}
}

// lookAt is lstat(2) of a name in an open directory.
func lookAt(dir int, name string) (st unix.Stat_t, err error) {
	err = again(func() error { return unix.Fstatat(dir, name, &st, unix.AT_SYMLINK_NOFOLLOW) })
	return st, err
}

// isMount tells whether a file that is of another device than its directory is
// mounted there. The files of an overlayfs may have the devices of its layers.
// Where the kernel cannot tell (before Linux 5.8) the device decides.
func isMount(dir int, name string) bool {
	var st unix.Statx_t
	err := again(func() error {
		return unix.Statx(dir, name, unix.AT_SYMLINK_NOFOLLOW|unix.AT_NO_AUTOMOUNT, unix.STATX_TYPE, &st)
	})
	tells := err == nil && st.Attributes_mask&unix.STATX_ATTR_MOUNT_ROOT != 0
	return !tells || st.Attributes&unix.STATX_ATTR_MOUNT_ROOT != 0
}

// openRoot opens the directory that is to be backed up. Unlike all below it, it
// may be named through symbolic links.
func openRoot(path string) (*handle, unix.Stat_t, error) {
	return openDirectory(unix.AT_FDCWD, path, 0)
}

// openBelow opens a directory in an open directory.
func openBelow(dir int, name string) (*handle, unix.Stat_t, error) {
	return openDirectory(dir, name, unix.O_NOFOLLOW)
}

func openDirectory(dir int, name string, flags int) (h *handle, st unix.Stat_t, err error) {
	fd, err := openQuietly(dir, name, flags|unix.O_DIRECTORY|unix.O_NONBLOCK)
	if err != nil {
		return nil, st, err
	}
	if err := again(func() error { return unix.Fstat(fd, &st) }); err != nil {
		_ = unix.Close(fd)
		return nil, st, err
	}
	return newHandle(fd), st, nil
}

// openFile opens a regular file in an open directory for reading. Nothing else
// is ever opened for reading: a name that is not, or no longer, that of a
// regular file is errReplaced.
func openFile(dir int, name string) (fd int, st unix.Stat_t, err error) {
	var place int
	err = again(func() (err error) {
		place, err = unix.Openat(dir, name, unix.O_PATH|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
		return err
	})
	if err != nil {
		return -1, st, err
	}
	defer unix.Close(place)
	if err = again(func() error { return unix.Fstat(place, &st) }); err != nil {
		return -1, st, err
	}
	if st.Mode&unix.S_IFMT != unix.S_IFREG {
		return -1, st, errReplaced
	}
	fd, err = openQuietly(unix.AT_FDCWD, "/proc/self/fd/"+strconv.Itoa(place), unix.O_NOCTTY)
	return fd, st, err
}

// openQuietly opens for reading and leaves the time of the last access as it
// is, which only the owner and root may.
func openQuietly(dir int, name string, flags int) (fd int, err error) {
	flags |= unix.O_RDONLY | unix.O_CLOEXEC
	for _, quietly := range []int{unix.O_NOATIME, 0} {
		err = again(func() (err error) {
			fd, err = unix.Openat(dir, name, flags|quietly, 0)
			return err
		})
		if !errors.Is(err, unix.EPERM) {
			break
		}
	}
	return fd, err
}

// again repeats a system call that a signal has interrupted.
func again(call func() error) error {
	for {
		if err := call(); err != unix.EINTR {
			return err
		}
	}
}

// A portion reads some bytes of an open file, from off on. It remembers why
// reading failed, so that this is told from a failure to store what was read.
type portion struct {
	fd        int
	off, left int64
	count     func(n int) // is told of what was read
	failed    error
}

func (p *portion) Read(b []byte) (n int, err error) {
	if p.left == 0 {
		return 0, io.EOF
	}
	b = b[:min(int64(len(b)), p.left)]
	err = again(func() (err error) {
		n, err = unix.Pread(p.fd, b, p.off)
		return err
	})
	switch {
	case err != nil:
		p.failed = fmt.Errorf("at byte %d: %w", p.off, err)
		return 0, p.failed
	case n == 0: // it has become shorter
		return 0, io.EOF
	}
	p.off, p.left = p.off+int64(n), p.left-int64(n)
	p.count(n)
	return n, nil
}
