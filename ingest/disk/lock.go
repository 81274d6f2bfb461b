package disk

import (
	"errors"
	"fmt"
	"regexp"

	"golang.org/x/sys/unix"
)

// QEMU says what it does with an image by open-file-description locks on single
// bytes of it (block/file-posix.c, RAW_LOCK_PERM_BASE and RAW_LOCK_SHARED_BASE): byte
// 100+n is locked by who uses permission n, byte 200+n by who lets nobody else
// use it.
const (
	lockUsed    = 100
	lockRefused = 200
	permRead    = 0
	permWrite   = 1
	permResize  = 3
)

// inUse reports ErrInUse if a QEMU process writes to the file.
func (f *file) inUse() error {
	for _, b := range []int64{lockUsed + permWrite, lockUsed + permResize, lockRefused + permRead} {
		lock := unix.Flock_t{Type: unix.F_WRLCK, Whence: 0, Start: b, Len: 1}
		err := unix.FcntlFlock(f.Fd(), unix.F_OFD_GETLK, &lock)
		if err != nil && unlockable(err) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("cannot be looked at for locks (%w)", err)
		}
		if lock.Type != unix.F_UNLCK {
			return ErrInUse
		}
	}
	return nil
}

// hold lets no QEMU process write to the file from now on, as qemu-nbd does it
// with the qcow2 images that it serves: a guest that is started meanwhile is told
// that the image is in use. It reports ErrInUse if one writes to it already.
func (f *file) hold() error {
	for _, b := range []int64{lockUsed + permRead, lockRefused + permWrite, lockRefused + permResize} {
		lock := unix.Flock_t{Type: unix.F_RDLCK, Whence: 0, Start: b, Len: 1}
		err := unix.FcntlFlock(f.Fd(), unix.F_OFD_SETLK, &lock)
		if errors.Is(err, unix.EAGAIN) || errors.Is(err, unix.EACCES) {
			return ErrInUse
		}
		if err != nil && !unlockable(err) {
			return fmt.Errorf("cannot be locked (%w)", err)
		}
	}
	return f.inUse()
}

// unlockable tells of a file system without such locks: QEMU does without, too.
func unlockable(err error) bool {
	return errors.Is(err, unix.EINVAL) || errors.Is(err, unix.ENOLCK) || errors.Is(err, unix.EOPNOTSUPP)
}

// lockError is how qemu-nbd says that somebody else came first.
var lockError = regexp.MustCompile(`Failed to get (shared )?"[a-z ]+" lock`)
