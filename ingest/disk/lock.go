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
		if errors.Is(err, unix.EINVAL) || errors.Is(err, unix.ENOLCK) || errors.Is(err, unix.EOPNOTSUPP) {
			return nil // a file system without such locks: QEMU does without, too
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

// lockError is how qemu-nbd says that somebody else came first.
var lockError = regexp.MustCompile(`Failed to get (shared )?"[a-z ]+" lock`)
