// Package format encodes, decodes and validates every structure that a
// repository stores. It does no I/O. FORMAT.md beside it in repo/ gives every
// byte; the two change together.
//
// Decoding trusts nothing: lengths are bounded before anything is allocated,
// and what is accepted encodes to the same bytes again.
package format

import (
	"bytes"
	"fmt"

	"vaultfs/repo/seal"
)

// Errors that decoding gives, for errors.Is.
var (
	// ErrDamaged says that bytes are not what was written.
	ErrDamaged = seal.ErrDamaged
	// ErrNewer says that a later version of the program wrote the bytes.
	ErrNewer = seal.ErrNewerFormat
)

func damaged(format string, args ...any) error {
	return fmt.Errorf("%w: "+format, append([]any{ErrDamaged}, args...)...)
}

// SnapshotID names a session and the snapshot that it becomes.
type SnapshotID [16]byte

// String is the ID in 32 lower-case hex digits.
func (id SnapshotID) String() string { return fmt.Sprintf("%x", id[:]) }

// IsZero tells whether id is the zero ID, which names nothing.
func (id SnapshotID) IsZero() bool { return id == SnapshotID{} }

// ParseSnapshotID reads what String writes.
func ParseSnapshotID(s string) (id SnapshotID, err error) {
	err = parseHex(id[:], s)
	return id, err
}

// PackHash names a pack: BLAKE3-256 of its bytes.
type PackHash [32]byte

// Compare orders hashes.
func (h PackHash) Compare(o PackHash) int { return bytes.Compare(h[:], o[:]) }

// String is the hash in 64 lower-case hex digits.
func (h PackHash) String() string { return fmt.Sprintf("%x", h[:]) }

// ParsePackHash reads what String writes.
func ParsePackHash(s string) (h PackHash, err error) {
	err = parseHex(h[:], s)
	return h, err
}

// RunID is the random part of an index run's name.
type RunID [16]byte

// String is the ID in 32 lower-case hex digits.
func (id RunID) String() string { return fmt.Sprintf("%x", id[:]) }
