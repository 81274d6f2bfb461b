package store

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"golang.org/x/sys/unix"
)

// cachedPrefix is where objects are read in many small pieces.
const cachedPrefix = "packs/"

// ReadAt reads len(p) bytes of an object from byte off on, with the errors of
// io.ReaderAt, or ErrNotFound. Packs stay open for later reads: one that
// another process deletes may be read, and its space is held, until nobody has
// read it for a while.
func (d *Dir) ReadAt(ctx context.Context, name string, p []byte, off int64) (int, error) {
	if err := check(ctx, name); err != nil {
		return 0, describe("read", "object", err)
	}
	n, err := d.readAt(name, p, off)
	if err == io.EOF {
		return n, io.EOF // bare, as io.ReaderAt asks
	}
	return n, describe("read", name, err)
}

func (d *Dir) readAt(name string, p []byte, off int64) (int, error) {
	open := func() (file, error) { return d.fs.open(name, false) }
	if !strings.HasPrefix(name, cachedPrefix) {
		f, err := open()
		if err != nil {
			return 0, err
		}
		defer f.Close()
		return f.ReadAt(p, off)
	}
	h, err := d.handles.get(name, open)
	if err != nil {
		return 0, err
	}
	defer d.handles.release(h)
	return h.ReadAt(p, off)
}

// Reopen has the next ReadAt of an object open it anew: for who found damage in it,
// as somebody may put a good copy in its place.
func (d *Dir) Reopen(name string) { d.handles.drop(name) }

// Get returns a whole object, or ErrTooLarge if it has more than limit bytes.
func (d *Dir) Get(ctx context.Context, name string, limit int64) ([]byte, error) {
	return d.get(ctx, name, limit, nil, false)
}

// GetCold is Get for reading back: the kernel is asked to drop its cached
// pages of the object first, so that the medium is read. The result lies in
// memory when that has the room.
func (d *Dir) GetCold(ctx context.Context, name string, limit int64, memory []byte) ([]byte, error) {
	return d.get(ctx, name, limit, memory, true)
}

func (d *Dir) get(ctx context.Context, name string, limit int64, memory []byte, cold bool) ([]byte, error) {
	f, err := d.openWhole(ctx, name, cold)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data, err := readAll(f, limit, memory)
	return data, describe("get", name, err)
}

// openWhole opens an object that is to be read from its beginning to its end.
func (d *Dir) openWhole(ctx context.Context, name string, cold bool) (file, error) {
	if err := check(ctx, name); err != nil {
		return nil, describe("get", "object", err)
	}
	f, err := d.fs.open(name, false)
	if err != nil {
		return nil, describe("get", name, err)
	}
	if cold {
		if err := f.dropCache(); err != nil {
			f.Close()
			return nil, describe("get", name, err)
		}
	}
	return f, nil
}

// A Cold is an object that is read back piece by piece, as GetCold reads it at
// once.
type Cold struct {
	f    file
	name string
	size int64
}

// OpenCold opens an object for reading back: the kernel is asked to drop its
// cached pages of the object first, so that the medium is read.
func (d *Dir) OpenCold(ctx context.Context, name string) (*Cold, error) {
	f, err := d.openWhole(ctx, name, true)
	if err != nil {
		return nil, err
	}
	st, err := f.stat()
	if err != nil {
		f.Close()
		return nil, describe("get", name, err)
	}
	return &Cold{f: f, name: name, size: st.size}, nil
}

// Size is the object's length in bytes.
func (c *Cold) Size() int64 { return c.size }

// ReadAt reads with the errors of io.ReaderAt.
func (c *Cold) ReadAt(p []byte, off int64) (int, error) {
	n, err := c.f.ReadAt(p, off)
	if err == io.EOF {
		return n, io.EOF
	}
	return n, describe("get", c.name, err)
}

// Close ends the reading.
func (c *Cold) Close() error { return c.f.Close() }

// readAll reads a file, into memory when that has the room. Its size is checked
// before anything is allocated for it.
func readAll(f file, limit int64, memory []byte) ([]byte, error) {
	st, err := f.stat()
	if err != nil {
		return nil, err
	}
	if st.size > limit {
		return nil, fmt.Errorf("%d bytes are %w: %d", st.size, ErrTooLarge, limit)
	}
	data := memory[:0]
	if int64(cap(data)) < st.size {
		data = make([]byte, st.size)
	}
	data = data[:st.size]
	_, err = io.ReadFull(io.NewSectionReader(f, 0, st.size), data)
	if errors.Is(err, io.EOF) && st.size > 0 {
		err = io.ErrUnexpectedEOF
	}
	if err != nil {
		return nil, err
	}
	return data, nil
}

// Size returns an object's length in bytes.
func (d *Dir) Size(ctx context.Context, name string) (int64, error) {
	if err := check(ctx, name); err != nil {
		return 0, describe("stat", "object", err)
	}
	st, err := d.fs.stat(name)
	if err == nil && st.kind == kindDir {
		err = unix.ENOENT
	}
	if err == nil && st.kind != kindFile {
		err = errNotRegular
	}
	return st.size, describe("stat", name, err)
}

// readHead returns a file's first limit bytes, or all if there are fewer.
func readHead(f file, limit int64) ([]byte, error) {
	return io.ReadAll(io.NewSectionReader(f, 0, limit))
}
