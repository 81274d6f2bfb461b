package repo

import (
	"errors"
	"fmt"
	"syscall"

	"vaultfs/repo/format"
	"vaultfs/repo/seal"
	"vaultfs/repo/store"
)

// Errors that callers tell apart, for errors.Is.
var (
	ErrDamaged        = seal.ErrDamaged
	ErrWrongPassword  = seal.ErrWrongPassword
	ErrNewerFormat    = seal.ErrNewerFormat
	ErrNoSpace        = store.ErrFull
	ErrLeaseBroken    = store.ErrBroken
	ErrNotRepository  = errors.New("not a vaultfs repository")
	ErrExists         = errors.New("there is already a repository")
	ErrPasswordNeeded = errors.New("the repository is encrypted and no password was given")
	ErrUnencrypted    = errors.New("a password was given, but the repository is not encrypted")
	ErrNotFound       = errors.New("not found")
	ErrAmbiguous      = errors.New("ambiguous")
	ErrSourceTaken    = errors.New("the source name belongs to another machine")
	ErrSourceBusy     = errors.New("the source is being backed up already")
	ErrLastKey        = errors.New("the last key cannot be removed")
	ErrInUse          = errors.New("the repository is in use")
	ErrNoBase         = errors.New("no earlier snapshot was named to go on from")
	ErrBaseGone       = errors.New("the earlier snapshot to go on from is gone: it was forgotten meanwhile")
)

// A DamageError says that an object of the repository is not what was written.
type DamageError struct {
	Object string // "pack 3f2a…"
	Err    error
}

func (e *DamageError) Error() string { return e.Object + ": " + e.Err.Error() }

// Unwrap returns the cause.
func (e *DamageError) Unwrap() error { return e.Err }

// Is makes every DamageError an ErrDamaged, also one of a missing object.
func (e *DamageError) Is(target error) bool { return target == ErrDamaged }

// damage names the object of an error that tells of damage, of bytes that the
// medium does not give back, and of a missing object; any other error is only
// given the object's name.
func damage(object string, err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, store.ErrNotFound):
		return &DamageError{object, errors.New("missing")}
	case errors.Is(err, format.ErrDamaged), errors.Is(err, store.ErrTooLarge), errors.Is(err, syscall.EIO):
		return &DamageError{object, err}
	}
	return fmt.Errorf("%s: %w", object, err)
}

// firstNewer returns, of joined errors, the first that tells of an object which
// a newer version wrote; nil if there is none. Who meets one stops.
func firstNewer(err error) error {
	for _, err := range split(err) {
		if errors.Is(err, ErrNewerFormat) {
			return err
		}
	}
	return nil
}

// packsOf is the directory of the packs of a session.
func packsOf(session format.SnapshotID) string { return "packs/" + session.String() }

func packObject(session format.SnapshotID, hash format.PackHash) string {
	return packsOf(session) + "/" + hash.String()
}

func packLabel(hash format.PackHash) string { return "pack " + hash.String()[:16] }
