package postgres

import (
	"errors"
	"io"

	"vaultfs/internal/pgarchive"
)

// A checked stream is an archive that is looked through while somebody else
// reads it.
type checked struct {
	pipe *io.PipeWriter
	done chan struct{}
	sum  pgarchive.Summary
	err  error
}

// newChecked returns a reader of r that fails where the archive proves wrong, and
// the check, whose end is called when nothing more is read.
func newChecked(r io.Reader) (io.Reader, *checked) {
	in, out := io.Pipe()
	c := &checked{pipe: out, done: make(chan struct{})}
	go func() {
		defer close(c.done)
		c.sum, c.err = pgarchive.Check(in)
		if errors.Is(c.err, pgarchive.ErrNewer) {
			_, _ = io.Copy(io.Discard, in)
		}
		_ = in.CloseWithError(c.err)
	}()
	return io.TeeReader(r, out), c
}

// end returns what the archive is, or what is wrong with it. Err is why its
// reader stopped; nil is the end of the archive. Nothing is known of an archive
// that was not read to its end for a reason of the reader's.
func (c *checked) end(err error) (pgarchive.Summary, error) {
	if err == nil {
		_ = c.pipe.Close()
	} else {
		_ = c.pipe.CloseWithError(errStopped)
	}
	<-c.done
	if errors.Is(c.err, errStopped) {
		return c.sum, nil
	}
	if cut := (*pgarchive.CutError)(nil); errors.As(c.err, &cut) && cut.Offset == 0 {
		return c.sum, errEmpty
	}
	return c.sum, c.err
}

var errStopped = errors.New("reading was stopped")
