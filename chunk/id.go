// Package chunk cuts bytes into chunks and names them.
//
// A chunk is a run of at most MaxSize plaintext bytes. Its name, the ID, is
// BLAKE3-256 of those bytes keyed with a secret of the repository, so equal
// bytes are stored once and nobody without the key can tell from an ID what
// the bytes are.
package chunk

import (
	"encoding/hex"
	"sync"

	"github.com/zeebo/blake3"
)

// MaxSize bounds the plaintext length of every chunk, in bytes.
const MaxSize = 4 << 20

// ID names a chunk: keyed BLAKE3-256 of its plaintext. The zero ID names no
// chunk and stands for "nothing here" in structures.
type ID [32]byte

// IsZero tells whether id is the zero ID.
func (id ID) IsZero() bool { return id == ID{} }

// String is the ID in 64 lower-case hex digits.
func (id ID) String() string { return hex.EncodeToString(id[:]) }

// A Namer computes IDs under one key. It may be used concurrently.
type Namer struct{ hashers sync.Pool }

// NewNamer returns the namer of a 32-byte key.
func NewNamer(key [32]byte) *Namer {
	n := &Namer{}
	n.hashers.New = func() any {
		h, err := blake3.NewKeyed(key[:])
		if err != nil { // only a wrong key length, which the type rules out
			panic(err)
		}
		return h
	}
	return n
}

// Name is the ID of p.
func (n *Namer) Name(p []byte) ID {
	h := n.hashers.Get().(*blake3.Hasher)
	h.Reset()
	h.Write(p)
	var id ID
	h.Sum(id[:0])
	n.hashers.Put(h)
	return id
}
