package pgarchive

import (
	"errors"
	"fmt"
)

// Errors that callers tell apart, with errors.Is.
var (
	// ErrNotArchive: the data does not begin as an archive does.
	ErrNotArchive = errors.New("this is no dump in pg_dump's custom format")
	// ErrNewer: the archive is of a version that is not known here, and may be
	// whole or not.
	ErrNewer = errors.New("the dump is of a newer archive format than is known")
)

// A CutError says that an archive ends where more must follow.
type CutError struct {
	Offset int64  // bytes that there are
	Lacks  string // of which data nothing is there; "" where it ends within something
}

func (e *CutError) Error() string {
	if e.Lacks != "" {
		return fmt.Sprintf("the dump is cut off: it ends after %d bytes, and the data of %s is not there", e.Offset, e.Lacks)
	}
	return fmt.Sprintf("the dump is cut off: it ends after %d bytes, in the middle of something", e.Offset)
}

// A DamageError says that an archive is not what pg_dump writes.
type DamageError struct {
	Offset int64
	What   string
}

func (e *DamageError) Error() string {
	return fmt.Sprintf("the dump is damaged: at byte %d there is %s", e.Offset, e.What)
}
