package tar

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
	"vaultfs/ingest"
)

// A source is an archive as it is read, compressed or not.
type source struct {
	io.Reader
	path   string      // absolute; "" for standard input
	file   *os.File    // nil for standard input
	before fs.FileInfo // of file
}

// openFile opens an archive. The error is what to say of it, without its name.
func openFile(path string, p *ingest.Progress) (*source, error) {
	path, err := filepath.Abs(path)
	if err != nil {
		return nil, err
	}
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NONBLOCK, 0) // so that a fifo does not hang
	if err != nil {
		return nil, bare(err)
	}
	info, err := f.Stat()
	switch {
	case err != nil:
	case info.IsDir():
		err = errors.New("it is a directory: use `vaultfs ingest tree`")
	case !info.Mode().IsRegular():
		err = errors.New("it is no regular file; a stream is read with -")
	default:
		p.Total.Add(info.Size())
		return &source{counter{f, p}, path, f, info}, nil
	}
	f.Close()
	return nil, bare(err)
}

// openStream is standard input.
func openStream(r io.Reader, p *ingest.Progress) *source { return &source{Reader: counter{r, p}} }

// A counter tells the progress what is read.
type counter struct {
	r io.Reader
	p *ingest.Progress
}

func (c counter) Read(b []byte) (int, error) {
	n, err := c.r.Read(b)
	c.p.Read.Add(int64(n))
	c.p.Done.Add(int64(n))
	return n, err
}

// modified is the time of the last change; of a stream it is now.
func (s *source) modified() time.Time {
	if s.file == nil {
		return time.Now()
	}
	return s.before.ModTime()
}

// close closes the file.
func (s *source) close() {
	if s.file != nil {
		s.file.Close()
	}
}

// unchanged compares the file, and what its path now names, with what was
// opened.
func (s *source) unchanged() error {
	if s.file == nil {
		return nil
	}
	held, err := s.file.Stat()
	if err != nil {
		return bare(err)
	}
	named, err := os.Stat(s.path)
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("it was removed %w", ErrChanged)
	}
	if err != nil {
		return bare(err)
	}
	switch {
	case !os.SameFile(s.before, named):
		return fmt.Errorf("it was replaced %w", ErrChanged)
	case held.Size() != s.before.Size():
		return fmt.Errorf("it went from %d to %d bytes %w", s.before.Size(), held.Size(), ErrChanged)
	case !held.ModTime().Equal(s.before.ModTime()) || !changeTime(held).Equal(changeTime(s.before)):
		return fmt.Errorf("it was written to %w", ErrChanged)
	}
	return nil
}

// changeTime is when the file, its mode, owner, links or times were last
// changed.
func changeTime(info fs.FileInfo) time.Time {
	return time.Unix(info.Sys().(*syscall.Stat_t).Ctim.Unix())
}

// bare is an error of the operating system without the path, which the caller
// names in its own way.
func bare(err error) error {
	if p, ok := errors.AsType[*fs.PathError](err); ok {
		err = p.Err
	}
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("it does not exist (%w)", err)
	}
	return err
}
