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
	StreamMin = 128 << 10
	StreamMax = MaxSize

	streamBits = 18 // one cut in 2^18 positions beyond the minimum: about 384 KiB

	streamBuffer = 512 << 10 // bytes that are read at once
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
type Stream struct {
	base *chunker.BaseChunker
	pol  chunker.Pol
	r    io.Reader
	buf  []byte
	rest []byte // of buf, that belongs to the next chunk
	open bool   // the cutter has seen bytes of a chunk that did not end
}

// NewStream cuts r under a polynomial of NewPolynomial.
func NewStream(r io.Reader, polynomial uint64) *Stream {
	s := &Stream{pol: chunker.Pol(polynomial), r: r, buf: make([]byte, streamBuffer)}
	s.base = chunker.NewBase(s.pol, chunker.WithBaseBoundaries(StreamMin, StreamMax), chunker.WithBaseAverageBits(streamBits))
	return s
}

// Reset makes s cut another stream, in the same memory.
func (s *Stream) Reset(r io.Reader) {
	s.r, s.rest = r, nil
	if s.open {
		s.base.Reset(s.pol, chunker.WithBaseBoundaries(StreamMin, StreamMax), chunker.WithBaseAverageBits(streamBits))
		s.open = false
	}
}

// Next returns the next chunk, in buf when it has the room, and io.EOF after
// the last one. An empty stream has no chunk.
func (s *Stream) Next(buf []byte) ([]byte, error) {
	buf = buf[:0]
	for {
		if len(s.rest) == 0 {
			n, err := ReadFull(s.r, s.buf)
			switch {
			case err != nil && err != io.EOF:
				return nil, err
			case n == 0 && len(buf) == 0:
				return nil, io.EOF
			case n == 0:
				return buf, nil
			}
			s.rest = s.buf[:n]
		}
		n := s.base.NextSplitPoint(s.rest)
		s.open = n < 0
		if s.open {
			n = len(s.rest)
		}
		buf, s.rest = append(buf, s.rest[:n]...), s.rest[n:]
		if !s.open {
			return buf, nil
		}
	}
}
