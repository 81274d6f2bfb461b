package store

import (
	"context"
	"errors"
	"fmt"

	"golang.org/x/sys/unix"
)

// The errors that callers tell apart, with errors.Is. The operating system's
// own error stays in the chain where there is one.
var (
	ErrNotFound = errors.New("not found")
	ErrExists   = errors.New("already exists")
	ErrBroken   = errors.New("lease was broken")
	ErrFull     = errors.New("store is full")
	ErrReadOnly = errors.New("store is read-only")
	ErrBadName  = errors.New("bad name")
	ErrTooLarge = errors.New("larger than allowed")
	// ErrEnded is returned by a lease that was committed or released.
	ErrEnded = errors.New("lease has ended")
)

// describe adds what was done to what, and the package's error for an errno.
func describe(op, name string, err error) error {
	if err == nil {
		return nil
	}
	if kind := kindOf(err); kind != nil && !errors.Is(err, kind) {
		return fmt.Errorf("%s %s: %w (%w)", op, name, kind, err)
	}
	return fmt.Errorf("%s %s: %w", op, name, err)
}

func kindOf(err error) error {
	switch {
	case errors.Is(err, unix.ENOENT):
		return ErrNotFound
	case errors.Is(err, unix.EEXIST):
		return ErrExists
	case errors.Is(err, unix.ENOSPC), errors.Is(err, unix.EDQUOT):
		return ErrFull
	case errors.Is(err, unix.EROFS):
		return ErrReadOnly
	}
	return nil
}

// check is what every operation on an object starts with.
func check(ctx context.Context, name string) error {
	if err := checkObject(name); err != nil {
		return err
	}
	return ctx.Err()
}
