package store

import (
	"context"
	"errors"
	"path"
)

// errWriterEnded is of a Writer that is used after Commit or Abort.
var errWriterEnded = errors.New("the writer has ended")

// A Writer writes an object that is too large to be held in memory, or of which
// the name is known only at its end. Nobody sees the object before Commit. A
// Writer is not for concurrent use, and is ended by Commit or Abort.
type Writer struct {
	dir    *Dir
	place  string // some name in the object's directory
	t      *temp  // nil once it has ended
	size   int64
	failed error // of a Write
}

// Begin starts an object whose name will have the directory dir
// ("packs/<session>"). That directory is made at Commit: a process that is killed
// before would leave an empty one, which nobody removes.
func (d *Dir) Begin(ctx context.Context, dir string) (*Writer, error) {
	if err := check(ctx, dir); err != nil {
		return nil, describe("write", "object", err)
	}
	t, err := d.newTemp(path.Dir(dir))
	if err != nil {
		return nil, describe("write an object in", dir, err)
	}
	return &Writer{dir: d, place: dir + "/object", t: t}, nil
}

// Write appends to the object. After an error it can only be given up.
func (w *Writer) Write(p []byte) (int, error) {
	if w.t == nil {
		return 0, errWriterEnded
	}
	if w.failed == nil {
		w.failed = describe("write", "object", w.t.write(p, w.size))
	}
	if w.failed != nil {
		return 0, w.failed
	}
	w.size += int64(len(p))
	return len(p), nil
}

// Size is how many bytes were written.
func (w *Writer) Size() int64 { return w.size }

// Commit makes what was written the object name and returns once it is durable,
// with the promises of Put. The writer has ended when Commit returns, whatever it
// returns.
func (w *Writer) Commit(ctx context.Context, name string) error {
	if w.t == nil {
		return describe("put", name, errWriterEnded)
	}
	defer w.Abort()
	if w.failed != nil {
		return w.failed
	}
	if err := check(ctx, name); err != nil {
		return describe("put", "object", err)
	}
	if err := w.dir.publish(ctx, w.t, name); err != nil {
		return describe("put", name, err)
	}
	w.dir.discard(w.t)
	w.t = nil
	return nil
}

// Abort gives the object up. After Commit or Abort it does nothing.
func (w *Writer) Abort() {
	if w.t == nil {
		return
	}
	w.dir.discard(w.t)
	w.t = nil
	w.dir.leave(w.place)
}
