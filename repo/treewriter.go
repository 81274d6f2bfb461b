package repo

import (
	"context"
	"io"
)

// A FileWriter stores the contents of files, one after the other. It reuses its
// buffers and is not for concurrent use; a session may have several.
type FileWriter struct{ session *Session }

// NewFileWriter returns a writer of contents of files.
func (s *Session) NewFileWriter() *FileWriter { return &FileWriter{s} }

// Put stores all of a stream as the content of a file without holes.
func (w *FileWriter) Put(ctx context.Context, r io.Reader) (Content, error) {
	return Content{}, errUnbuilt
}

// PutSparse stores the content of a file of that many bytes that has holes.
// The ranges are its data, sorted, without overlap, at most format.MaxRanges;
// r gives the bytes of these, one run after the other, and fewer are an error.
func (w *FileWriter) PutSparse(ctx context.Context, r io.Reader, size int64, ranges []Range) (Content, error) {
	return Content{}, errUnbuilt
}

// PutXattr makes an extended attribute; a long value is stored as a chunk.
func (w *FileWriter) PutXattr(ctx context.Context, name string, value []byte) (Xattr, error) {
	return Xattr{}, errUnbuilt
}

// Holds tells whether a content of an earlier snapshot, the one that
// Session.Previous gives, may be taken over as it is: all of its chunks are
// there and not in doubt.
func (s *Session) Holds(ctx context.Context, c Content) bool { return false }

// HoldsXattr is Holds for an extended attribute.
func (s *Session) HoldsXattr(ctx context.Context, x *Xattr) bool { return false }

// A DirWriter stores one directory. Memory holds no more of it than a node a
// level. It is not for concurrent use; a session may have many at once.
type DirWriter struct{ session *Session }

// NewDir returns a writer of a directory.
func (s *Session) NewDir() *DirWriter { return &DirWriter{s} }

// Add adds an entry. Names come in rising order of their bytes, none twice; a
// directory has been finished before.
func (w *DirWriter) Add(ctx context.Context, e *Entry) error { return errUnbuilt }

// Finish stores the rest and fills in Content.Kind, Content.ID and Below of the
// directory's own entry.
func (w *DirWriter) Finish(ctx context.Context, dir *Entry) error { return errUnbuilt }

// AddTree makes a finished directory, an entry without a name, an item of the
// snapshot. Its size is that of the files below.
func (s *Session) AddTree(ctx context.Context, name string, root *Entry) (Item, error) {
	return Item{}, errUnbuilt
}
