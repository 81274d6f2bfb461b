package vzdump

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"
	"vaultfs/ingest"
)

// A file is an archive on disk.
type file struct{ *ingest.File }

// openFile opens an archive. The error is what to say of it, without its name.
func openFile(path string) (*file, error) {
	f, err := ingest.OpenFile(path)
	if err != nil {
		return nil, err
	}
	return &file{f}, nil
}

// settling is how long ago a file that is complete was written to, at least: a
// copy that goes on writes all the time.
const settling = time.Minute

// fresh says that the file was written to just now, for an error about what it
// holds; else "".
func (f *file) fresh() string {
	age := time.Since(f.Before.ModTime())
	if age < 0 || age > settling {
		return ""
	}
	return fmt.Sprintf(" (it was written to %.0f seconds before it was read: if it is still being copied, start again when that is done)", age.Seconds())
}

// identity tells an archive from any other without reading it.
func (f *file) identity() string {
	return identity(f.Path, f.Before)
}

func identity(path string, info fs.FileInfo) string {
	return fmt.Sprintf("%d bytes of %s: %s", info.Size(), info.ModTime().UTC().Format(time.RFC3339Nano), ingest.Printable(filepath.Base(path)))
}

// maxBeside bounds the files beside an archive that are kept, in bytes.
const maxBeside = 16 << 20

// openBeside opens a small file beside the archive; one that is not there is
// nil. A symbolic link is not followed: its target is no part of the backup.
func openBeside(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NONBLOCK|unix.O_NOFOLLOW, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, ingest.Bare(err)
	}
	info, err := f.Stat()
	switch {
	case err != nil:
	case !info.Mode().IsRegular():
		err = errors.New("it is no regular file")
	case info.Size() > maxBeside:
		err = fmt.Errorf("it has %d bytes, more than %d", info.Size(), maxBeside)
	default:
		return f, nil
	}
	f.Close()
	return nil, ingest.Bare(err)
}

// countingReader tells how much has been read.
type countingReader struct {
	r    io.Reader
	read func(n int64)
}

func (c countingReader) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.read(int64(n))
	return n, err
}
