package tar

import (
	"errors"
	"io"
	"os"
	"time"

	"vaultfs/ingest"
)

// A source is an archive as it is read, compressed or not.
type source struct {
	io.Reader
	file *ingest.File // nil for standard input
}

// path is where the archive lies; "" for standard input.
func (s *source) path() string {
	if s.file == nil {
		return ""
	}
	return s.file.Path
}

// openFile opens an archive. The error is what to say of it, without its name.
func openFile(path string, p *ingest.Progress) (*source, error) {
	if info, err := os.Stat(path); err == nil && info.IsDir() {
		return nil, errors.New("it is a directory: use `vaultfs ingest tree`")
	}
	f, err := ingest.OpenFile(path)
	if err != nil {
		return nil, err
	}
	p.Total.Add(f.Before.Size())
	return &source{p.Reader(f), f}, nil
}

// openStream is standard input.
func openStream(r io.Reader, p *ingest.Progress) *source { return &source{Reader: p.Reader(r)} }

// modified is the time of the last change; of a stream it is now.
func (s *source) modified() time.Time {
	if s.file == nil {
		return time.Now()
	}
	return s.file.Before.ModTime()
}

// close closes the file.
func (s *source) close() {
	if s.file != nil {
		s.file.Close()
	}
}

// unchanged is an error if the file is no longer what was opened.
func (s *source) unchanged() error {
	if s.file == nil {
		return nil
	}
	return s.file.Unchanged()
}
