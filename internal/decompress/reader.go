package decompress

import (
	"context"
	"errors"
	"fmt"
	"io"
)

// What Format tells.
const (
	Plain = ""
	Zstd  = "zst"
	Gzip  = "gz"
	Lzop  = "lzo"
)

// The buffers that are filled ahead of who reads.
const (
	aheadSize  = 256 << 10
	aheadCount = 4
)

// ErrClosed is what Read returns after Close.
var ErrClosed = errors.New("the reader was closed")

// A Reader gives the plain bytes of a stream. A goroutine of its own
// decompresses up to 1 MiB ahead. Besides, a zstd stream takes memory for its
// window, at most MaxWindow, and an lzop stream for two of its blocks.
type Reader struct {
	format string
	full   chan []byte
	free   chan []byte
	err    error // of the goroutine, set before full is closed

	parent context.Context // of the caller
	ctx    context.Context // ends with parent and with Close
	close  context.CancelFunc
	begun  chan struct{} // closed when format is known
	buf    []byte
	rest   []byte // of buf, not read yet
}

// New begins to read r and tells by its first bytes how it is compressed. What
// has none of the known formats is given as it is. The caller closes the
// Reader, and after that r.
func New(r io.Reader) (*Reader, error) { return NewContext(context.Background(), r) }

// NewContext is New for a stream that may hang: when ctx is over, whoever waits
// for it gets the context's error, and a Read of r that goes on is left behind.
func NewContext(ctx context.Context, r io.Reader) (*Reader, error) {
	d := &Reader{parent: ctx, full: make(chan []byte, aheadCount), free: make(chan []byte, aheadCount), begun: make(chan struct{})}
	d.ctx, d.close = context.WithCancel(ctx)
	for range aheadCount {
		d.free <- nil
	}
	go d.run(newInput(r))
	select {
	case <-d.begun:
		return d, nil
	case <-ctx.Done():
		d.close()
		return nil, ctx.Err()
	}
}

// Format is how the stream is compressed: Plain, Zstd, Gzip or Lzop.
func (d *Reader) Format() string { return d.format }

// Close ends the reading, even one that another goroutine waits for. It does not
// wait until a Read of the stream below returns.
func (d *Reader) Close() error {
	d.close()
	return nil
}

// Read gives the next plain bytes. An error names the format and how far the
// compressed data was read; where that was cut off it is an
// io.ErrUnexpectedEOF.
func (d *Reader) Read(p []byte) (int, error) {
	if len(d.rest) == 0 {
		if err := d.next(); err != nil {
			return 0, err
		}
	}
	n := copy(p, d.rest)
	d.rest = d.rest[n:]
	return n, nil
}

// next takes the next full buffer.
func (d *Reader) next() error {
	if d.buf != nil {
		d.free <- d.buf
		d.buf = nil
	}
	if d.ctx.Err() != nil {
		return d.over()
	}
	select {
	case b, ok := <-d.full:
		if !ok {
			return d.err
		}
		d.buf, d.rest = b[:cap(b)], b
		return nil
	case <-d.ctx.Done():
		return d.over()
	}
}

// over is why nothing more is read.
func (d *Reader) over() error {
	if err := d.parent.Err(); err != nil {
		return err
	}
	return ErrClosed
}

// run decompresses until the end, an error or Close.
func (d *Reader) run(in *input) {
	defer close(d.full)
	d.format = in.format()
	close(d.begun)
	plain, err := open(d.format, in)
	if err != nil {
		d.err = in.explain(d.format, err)
		return
	}
	defer plain.Close()
	for {
		var b []byte
		select {
		case b = <-d.free:
		case <-d.ctx.Done():
			d.err = d.over()
			return
		}
		if b == nil {
			b = make([]byte, aheadSize)
		}
		n, err := fill(plain, b)
		if n > 0 {
			d.full <- b[:n]
		}
		if err != nil {
			d.err = in.explain(d.format, err)
			return
		}
	}
}

// fill reads until b is full. Unlike io.ReadFull it hands on every error as it
// is.
func fill(r io.Reader, b []byte) (n int, err error) {
	for n < len(b) && err == nil {
		var k int
		k, err = r.Read(b[n:])
		n += k
	}
	return n, err
}

// open returns the decoder of a format.
func open(format string, in *input) (io.ReadCloser, error) {
	switch format {
	case Zstd:
		return newZstd(in)
	case Gzip:
		return newGzip(in)
	case Lzop:
		return newLzop(in), nil
	}
	return io.NopCloser(in), nil
}

// words are the names of the formats in messages.
var words = map[string]string{Zstd: "zstd", Gzip: "gzip", Lzop: "lzop"}

// explain says of an error of a decoder what it means, and where.
func (in *input) explain(format string, err error) error {
	switch {
	case in.failed != nil:
		return fmt.Errorf("reading at byte %d: %w", in.offset(), in.failed)
	case err == io.EOF:
		return io.EOF
	case errors.Is(err, io.ErrUnexpectedEOF):
		return fmt.Errorf("the %s data is cut off after %d bytes: was it copied to its end? (%w)", words[format], in.offset(), io.ErrUnexpectedEOF)
	}
	return fmt.Errorf("the %s data cannot be decompressed, at byte %d: %w", words[format], in.offset(), err)
}
