package fusefs

import (
	"context"
	"errors"
	"syscall"

	"vaultfs/repo"
)

// errno is what a process that reads the tree is told of an error. All that is
// not one of a few ordinary outcomes is EIO.
func errno(err error) syscall.Errno {
	switch {
	case err == nil:
		return 0
	case errors.Is(err, repo.ErrDamaged):
		return syscall.EIO
	case errors.Is(err, repo.ErrNotFound):
		return syscall.ENOENT
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return syscall.EINTR
	}
	return syscall.EIO
}

// failed is errno, and reports what a person has to hear of: what was being done
// and to which object.
func (r *reporter) failed(what string, err error) syscall.Errno {
	e := errno(err)
	if e == syscall.EIO {
		r.problem(what, "", err)
	}
	return e
}
