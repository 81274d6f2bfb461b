package seal

import (
	"crypto/aes"
	"crypto/cipher"
	"encoding/binary"
	"fmt"
	"io"
	"sync"
)

// Overhead is how many bytes sealing adds.
const Overhead = 16

const nonceSize = 12

// Box seals and opens under one key: AES-256-GCM (NIST SP 800-38D), nonce =
// four zero bytes ‖ ordinal, big-endian. An ordinal must be sealed at most once
// under a key. A Box may be used by several goroutines at once.
type Box struct {
	aead cipher.AEAD
}

// NewBox makes a Box of a key.
func NewBox(key Key) *Box {
	block, err := aes.NewCipher(key[:])
	if err != nil {
		panic("seal: " + err.Error()) // only a wrong key length fails
	}
	aead, err := cipher.NewGCM(block)
	if err != nil {
		panic("seal: " + err.Error()) // AES has GCM's block size
	}
	return &Box{aead: aead}
}

// nonces spares an allocation a call: a nonce escapes through cipher.AEAD.
var nonces = sync.Pool{New: func() any { return new([nonceSize]byte) }}

func takeNonce(ordinal uint64) *[nonceSize]byte {
	n := nonces.Get().(*[nonceSize]byte)
	binary.BigEndian.PutUint64(n[nonceSize-8:], ordinal)
	return n
}

// Seal appends the sealed form of plain, Overhead bytes longer, to dst. The
// free part of dst must overlap plain exactly or not at all.
func (b *Box) Seal(dst []byte, ordinal uint64, aad, plain []byte) []byte {
	n := takeNonce(ordinal)
	defer nonces.Put(n)
	return b.aead.Seal(dst, n[:], plain, aad)
}

// Open appends the plaintext of sealed to dst, or returns ErrAuth. Overlap as
// for Seal.
func (b *Box) Open(dst []byte, ordinal uint64, aad, sealed []byte) ([]byte, error) {
	n := takeNonce(ordinal)
	defer nonces.Put(n)
	out, err := b.aead.Open(dst, n[:], sealed, aad)
	if err != nil {
		return nil, ErrAuth
	}
	return out, nil
}

// String returns a fixed text.
func (*Box) String() string { return redacted }

// Format writes a fixed text for every verb.
func (*Box) Format(f fmt.State, _ rune) { io.WriteString(f, redacted) }
