package chunk

import (
	"crypto/rand"
	"fmt"
	"io"

	"github.com/restic/chunker"
)

// Bounds of a stream chunk, in bytes. Like those of a disk chunk they are part
// of the format.
const (
	StreamMin = 256 << 10
	StreamMax = MaxSize

	streamBits = 20 // one cut in 2^20 positions beyond the minimum: about 1 MiB
)

// NewPolynomial draws the secret that decides where a repository cuts its
// streams: a random irreducible polynomial of degree 53 over GF(2).
func NewPolynomial() (uint64, error) {
	p, err := chunker.DerivePolynomial(rand.Reader)
	if err != nil {
		return 0, fmt.Errorf("drawing a chunking polynomial: %w", err)
	}
	return uint64(p), nil
}

// ValidPolynomial tells whether p can cut streams.
func ValidPolynomial(p uint64) bool {
	pol := chunker.Pol(p)
	return pol.Deg() == 53 && pol.Irreducible()
}

// Stream cuts a stream where a Rabin fingerprint of the last 64 bytes says so
// (Rabin 1981, as restic/chunker implements it).
type Stream struct{ c *chunker.Chunker }

// NewStream cuts r under a polynomial of NewPolynomial.
func NewStream(r io.Reader, polynomial uint64) *Stream {
	return &Stream{chunker.New(r, chunker.Pol(polynomial),
		chunker.WithBoundaries(StreamMin, StreamMax), chunker.WithAverageBits(streamBits))}
}

// Next returns the next chunk, in buf when it has the room, and io.EOF after
// the last one. An empty stream has no chunk.
func (s *Stream) Next(buf []byte) ([]byte, error) {
	c, err := s.c.Next(buf)
	if err != nil {
		return nil, err
	}
	return c.Data, nil
}
