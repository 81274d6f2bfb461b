package stdin

import (
	"context"
	"io"

	"vaultfs/ingest"
)

// A reader reads a stream in a goroutine of its own, so that one that hangs is
// left behind when the context is over.
type reader struct {
	ctx      context.Context
	progress *ingest.Progress
	full     chan result
	free     chan []byte
	buf      []byte
	rest     []byte // of buf, not read yet
	failed   error  // why reading ended, if it was not the end
	err      error
}

// A result is what a Read of the stream gave.
type result struct {
	b   []byte
	err error
}

// bufferSize is how much is read at once, in bytes.
const bufferSize = 1 << 20

func newReader(ctx context.Context, r io.Reader, p *ingest.Progress) *reader {
	in := &reader{ctx: ctx, progress: p, full: make(chan result, 2), free: make(chan []byte, 2)}
	in.free <- make([]byte, bufferSize)
	in.free <- make([]byte, bufferSize)
	go in.run(r)
	return in
}

// run reads until the stream ends or the context.
func (in *reader) run(r io.Reader) {
	for {
		select {
		case b := <-in.free:
			n, err := r.Read(b[:bufferSize])
			in.full <- result{b[:n], err}
			if err != nil {
				return
			}
		case <-in.ctx.Done():
			return
		}
	}
}

// Read gives the next bytes.
func (in *reader) Read(p []byte) (int, error) {
	for len(in.rest) == 0 {
		if in.err != nil {
			return 0, in.err
		}
		if in.buf != nil {
			in.free <- in.buf
			in.buf = nil
		}
		select {
		case got := <-in.full:
			in.buf, in.rest, in.err = got.b, got.b, got.err
			in.progress.Read.Add(int64(len(got.b)))
			in.progress.Done.Add(int64(len(got.b)))
			if in.err != nil && in.err != io.EOF {
				in.failed = in.err
			}
		case <-in.ctx.Done():
			return 0, in.ctx.Err()
		}
	}
	n := copy(p, in.rest)
	in.rest = in.rest[n:]
	return n, nil
}
