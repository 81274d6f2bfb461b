package seal

import (
	"errors"
	"fmt"
)

// Errors that callers tell apart. Errors of this package never hold a key, a
// password or a label.
var (
	// ErrDamaged: the bytes are not what was written. No password can help.
	ErrDamaged = errors.New("damaged")
	// ErrNewerFormat: intact, but of a version that this binary does not know.
	ErrNewerFormat = errors.New("written by a newer version of vaultfs")
	// ErrWrongPassword: the slot is intact and locked with another password.
	ErrWrongPassword = errors.New("wrong password")
	// ErrNotEncrypted: a password was given for a slot that has none. It is an
	// error because a storage host could have put such a slot there.
	ErrNotEncrypted = errors.New("a password was given, but the key is not encrypted")
	// ErrUnknownIdentity: a session secret is sealed to an identity that the
	// opened slot does not hold.
	ErrUnknownIdentity = errors.New("sealed to an identity that this key does not hold")
	// ErrAuth: sealed bytes do not open: altered, or under another key.
	ErrAuth = errors.New("authentication failed")
)

// damaged returns an ErrDamaged that names the object and says what is wrong.
func damaged(object, format string, args ...any) error {
	return fmt.Errorf("%s: %w: %s", object, ErrDamaged, fmt.Sprintf(format, args...))
}
