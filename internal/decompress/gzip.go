package decompress

import (
	"io"

	"github.com/klauspost/compress/gzip"
)

// A gzipReader reads members, one after the other, as RFC 1952, section 2.2
// has it, up to the end of the input.
type gzipReader struct {
	in *input
	z  *gzip.Reader
}

func newGzip(in *input) (io.ReadCloser, error) {
	z, err := gzip.NewReader(in)
	if err != nil {
		return nil, cutHeader(err)
	}
	z.Multistream(false)
	return &gzipReader{in, z}, nil
}

// cutHeader is the error of a header: its end comes too early.
func cutHeader(err error) error {
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}

func (g *gzipReader) Close() error { return g.z.Close() }

func (g *gzipReader) Read(p []byte) (int, error) {
	n, err := g.z.Read(p)
	if err != io.EOF {
		return n, err
	}
	return n, g.nextMember()
}

// nextMember goes on after a member; io.EOF is the end of all.
func (g *gzipReader) nextMember() error {
	switch b, err := g.in.Peek(1); {
	case err != nil:
		return err
	case b[0] == 0:
		return g.padding()
	case b[0] != gzipMagic[0]:
		return errTrailing
	}
	if err := g.z.Reset(g.in); err != nil {
		return cutHeader(err)
	}
	g.z.Multistream(false)
	return nil
}

// padding reads the zeros that may follow the last member; then the input ends.
func (g *gzipReader) padding() error {
	for {
		b, err := g.in.ReadByte()
		if err != nil {
			return err
		}
		if b != 0 {
			return errTrailing
		}
	}
}
