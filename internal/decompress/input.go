package decompress

import (
	"bufio"
	"bytes"
	"io"
)

// inputSize is how much is read of the compressed stream at once, in bytes.
const inputSize = 128 << 10

// An input is the compressed stream. It knows how many bytes were taken, and
// tells its own errors from those of what it holds.
type input struct {
	*bufio.Reader
	*source
}

// A source counts what is read of a stream and keeps its error.
type source struct {
	from   io.Reader
	n      int64
	failed error // other than io.EOF
}

func newInput(r io.Reader) *input {
	s := &source{from: r}
	return &input{bufio.NewReaderSize(sourceReader{s}, inputSize), s}
}

// A sourceReader reads a source.
type sourceReader struct{ *source }

func (s sourceReader) Read(p []byte) (int, error) {
	n, err := s.from.Read(p)
	s.n += int64(n)
	if err != nil && err != io.EOF {
		s.failed = err
	}
	return n, err
}

// offset is how many bytes were taken.
func (in *input) offset() int64 { return in.n - int64(in.Buffered()) }

// The first bytes of the formats. Of zstd's skippable frames they are
// skippableMagic, the first of them with any lower half: RFC 8878, section 3.1.2.
var (
	zstdMagic      = []byte{0x28, 0xb5, 0x2f, 0xfd}
	skippableMagic = []byte{0x50, 0x2a, 0x4d, 0x18}
	gzipMagic      = []byte{0x1f, 0x8b, 8}
	lzopMagic      = []byte{0x89, 'L', 'Z', 'O', 0, '\r', '\n', 0x1a, '\n'}
)

// format tells how the stream is compressed.
func (in *input) format() string {
	b, _ := in.Peek(len(lzopMagic)) // an error comes again
	switch {
	case bytes.HasPrefix(b, zstdMagic), len(b) >= 4 && b[0]&0xf0 == 0x50 && bytes.Equal(b[1:4], skippableMagic[1:]):
		return Zstd
	case bytes.HasPrefix(b, gzipMagic):
		return Gzip
	case bytes.HasPrefix(b, lzopMagic):
		return Lzop
	}
	return Plain
}
