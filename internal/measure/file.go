package measure

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// fileMost is how long a temporary file becomes before it is written from its
// beginning again, in bytes.
const fileMost = 256 << 20

// A file takes packs as a repository would, each durable when it ends. It has no
// name from the start, so that nothing is left behind however the program ends.
type file struct {
	f  *os.File
	at int64
}

// roomFor is how many bytes must be free for measuring what writing costs.
const roomFor = 1 << 30

// newFile makes a file in a directory.
func newFile(dir string) (*file, error) {
	f, err := os.CreateTemp(dir, ".vaultfs-bench-*")
	if err != nil {
		return nil, fmt.Errorf("a temporary file for measuring: %w", err)
	}
	if err := os.Remove(f.Name()); err != nil {
		f.Close()
		return nil, err
	}
	return &file{f: f}, nil
}

// write appends to the open pack and, if it ends, waits until it is durable.
func (f *file) write(p []byte, ends bool) error {
	_, err := f.f.WriteAt(p, f.at)
	f.at += int64(len(p))
	if err == nil && ends {
		err = f.f.Sync()
		if f.at >= fileMost {
			f.at = 0
		}
	}
	if err != nil {
		return fmt.Errorf("writing a temporary file for measuring: %w", err)
	}
	return nil
}

func (f *file) close() { f.f.Close() }

// A Place is a directory that packs are written to.
type Place struct {
	Dir    string
	Memory bool // its file system is in memory, so that it tells nothing of a disk
}

// Look finds out about a directory. It is refused if it has little room.
func Look(dir string) (*Place, error) {
	var s unix.Statfs_t
	if err := unix.Statfs(dir, &s); err != nil {
		return nil, fmt.Errorf("the directory %q cannot be written to: %w", dir, err)
	}
	if free := int64(s.Bavail) * s.Bsize; free < roomFor {
		return nil, fmt.Errorf("%q has %d MiB free, and %d are wanted to measure what writing costs: name another directory, or leave writing out",
			dir, free>>20, roomFor>>20)
	}
	f, err := newFile(dir)
	if err != nil {
		return nil, fmt.Errorf("the directory %q cannot be written to: name another, or leave writing out: %w", dir, err)
	}
	f.close()
	return &Place{Dir: dir, Memory: s.Type == unix.TMPFS_MAGIC || s.Type == unix.RAMFS_MAGIC}, nil
}
