package store

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// Dir is a store in one directory. Its methods may be called concurrently,
// and several processes may use one directory. Nothing may be called once
// Close has been.
type Dir struct {
	fs       fileSystem
	warnings []string
	handles  *handles
	named    atomic.Bool // the file system has no nameless files, or, as many of FUSE, some that it cannot give a name

	// shape is held shared while a name is entered into a directory, and
	// exclusively while a directory is removed.
	shape   sync.RWMutex
	durable durableDirs

	// leases refers to those that are open: were one forgotten by its opener,
	// the garbage collector would close its file, and it would look dead.
	leases sync.Map // *Lease → nil
}

// Info describes an object.
type Info struct {
	Name    string
	Size    int64 // bytes
	ModTime time.Time
}

// Create makes a store in path, which is made (mode 0700, its parent must
// exist) or is an empty directory. Otherwise the error is ErrExists.
func Create(path string) (*Dir, error) {
	err := os.Mkdir(path, 0o700)
	if errors.Is(err, unix.EEXIST) {
		err = checkEmpty(path)
	}
	if err == nil {
		err = syncParent(path)
	}
	if err != nil {
		return nil, describe("create store", path, err)
	}
	return OpenDir(path)
}

// checkEmpty lets pass what mkfs leaves in a fresh file system.
func checkEmpty(path string) error {
	entries, err := os.ReadDir(path)
	if err != nil {
		return err
	}
	for _, entry := range entries {
		if entry.Name() != "lost+found" {
			return fmt.Errorf("%w and is not empty", ErrExists)
		}
	}
	return nil
}

func syncParent(path string) error {
	abs, err := filepath.Abs(path)
	if err != nil {
		return err
	}
	parent, err := os.Open(filepath.Dir(abs))
	if err != nil {
		return err
	}
	defer parent.Close()
	return parent.Sync()
}

// OpenDir opens the store in an existing directory.
func OpenDir(path string) (*Dir, error) {
	fs, err := openOS(path)
	if err != nil {
		return nil, describe("open store", path, err)
	}
	d, err := newDir(fs)
	return d, describe("open store", path, err)
}

func newDir(fs fileSystem) (*Dir, error) {
	use, err := fs.usage()
	if err != nil {
		return nil, errors.Join(err, fs.close())
	}
	d := &Dir{fs: fs, warnings: warnings(use.magic), handles: newHandles(maxHandles)}
	d.named.Store(use.magic == unix.FUSE_SUPER_MAGIC)
	return d, nil
}

// Warnings says what is not safe on this file system, one sentence each.
func (d *Dir) Warnings() []string { return d.warnings }

// Free returns the bytes that are free for this user, and the total.
func (d *Dir) Free(ctx context.Context) (free, total int64, err error) {
	if err := ctx.Err(); err != nil {
		return 0, 0, err
	}
	use, err := d.fs.usage()
	return use.free, use.total, describe("measure", "store", err)
}

// Close frees what the store holds. It does not end leases.
func (d *Dir) Close() error {
	d.handles.closeAll()
	return d.fs.close()
}
