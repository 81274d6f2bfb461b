package format

import (
	"encoding/binary"
	"errors"

	"vaultfs/repo/seal"
)

// A sealed object is what heads, leases and index runs are stored as:
//
//	magic 8 | salt 32 | sealed body
//
// The body is length 4 | content | zeros, padded to a PADMÉ length before it
// is sealed, under ordinal 0, with the object's name as associated data: the
// bytes of one object are not accepted under the name of another.
const (
	magicSize  = 8
	saltSize   = 32
	sealedHead = magicSize + saltSize
)

// Salt makes the key of one object unique.
type Salt [saltSize]byte

// A KeyFunc derives the key of the object that has the salt.
type KeyFunc func(Salt) *seal.Box

// sealObject encodes a sealed object.
func sealObject(magic string, salt Salt, key KeyFunc, name string, content []byte) []byte {
	out := append(make([]byte, 0, sealedHead+seal.Padme(4+len(content))+seal.Overhead), magic...)
	out = append(out, salt[:]...)
	return key(salt).Seal(out, 0, associated(magic, name), pad(content))
}

// openObject decodes a sealed object.
func openObject(magic string, key KeyFunc, name string, b []byte) ([]byte, error) {
	salt, err := header(magic, b)
	if errors.Is(err, ErrNewer) {
		// A flipped bit must not pass for the work of a newer program: what
		// opens as an object of this version was one.
		copy(salt[:], b[magicSize:])
		if _, err := key(salt).Open(nil, 0, associated(magic, name), b[sealedHead:]); err == nil {
			return nil, damaged("its version is not the one that was sealed")
		}
	}
	if err != nil {
		return nil, err
	}
	body, err := key(salt).Open(nil, 0, associated(magic, name), b[sealedHead:])
	if err != nil {
		return nil, damaged("its seal does not fit")
	}
	return unpad(body)
}

// header checks the magic and returns the salt behind it.
func header(magic string, b []byte) (salt Salt, err error) {
	if len(b) < sealedHead {
		return salt, damaged("%d bytes, too short", len(b))
	}
	if err := checkMagic(magic, b); err != nil {
		return salt, err
	}
	copy(salt[:], b[magicSize:])
	return salt, nil
}

// checkMagic compares the first bytes with a magic, whose last byte is the
// version.
func checkMagic(magic string, b []byte) error {
	switch got := string(b[:magicSize]); {
	case got == magic:
		return nil
	case got[:magicSize-1] == magic[:magicSize-1] && got[magicSize-1] > magic[magicSize-1]:
		return ErrNewer
	default:
		return damaged("it begins with %q, not %q", got, magic)
	}
}

func associated(magic, name string) []byte { return append([]byte(magic), name...) }

// pad puts the length before content and zeros behind it.
func pad(content []byte) []byte {
	b := make([]byte, seal.Padme(4+len(content)))
	binary.BigEndian.PutUint32(b, uint32(len(content)))
	copy(b[4:], content)
	return b
}

// unpad reverses pad and refuses what pad would not have made.
func unpad(b []byte) ([]byte, error) {
	if len(b) < 4 {
		return nil, damaged("%d bytes, too short", len(b))
	}
	n := uint64(binary.BigEndian.Uint32(b))
	if n > uint64(len(b)-4) || len(b) != seal.Padme(4+int(n)) {
		return nil, damaged("%d bytes of content in %d", n, len(b))
	}
	for _, c := range b[4+n:] {
		if c != 0 {
			return nil, damaged("padding is not zero")
		}
	}
	return b[4 : 4+n], nil
}
