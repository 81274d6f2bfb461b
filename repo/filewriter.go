package repo

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"

	"vaultfs/chunk"
	"vaultfs/repo/format"
)

// A FileWriter stores the contents of files, one after the other. It reuses its
// buffers and is not for concurrent use; a session may have several.
type FileWriter struct {
	lane   Lane // stream chunks never go to a lane's own pack
	head   []byte
	cutter *chunk.Stream // nil until a file needs it
}

// NewFileWriter returns a writer of contents of files.
func (s *Session) NewFileWriter() *FileWriter { return &FileWriter{lane: Lane{session: s}} }

// Put stores all of a stream as the content of a file without holes.
func (w *FileWriter) Put(ctx context.Context, r io.Reader) (c Content, err error) {
	tree := w.streamTree(ctx)
	err = w.chunks(ctx, r, func(e format.StreamEntry) error {
		c.Size += e.Len
		return tree.add(0, e)
	})
	if err != nil || c.Size == 0 {
		return Content{}, err
	}
	if id, one := tree.single(); one {
		c.Kind, c.ID = format.ChunkContent, id
		return c, nil
	}
	c.Kind = format.StreamContent
	c.ID, err = tree.finish()
	return c, err
}

// chunks stores a stream and gives its chunks, one after the other. A stream
// that is not longer than the shortest chunk is one, so that there is no need
// to ask the cutter.
func (w *FileWriter) chunks(ctx context.Context, r io.Reader, give func(format.StreamEntry) error) error {
	if w.head == nil {
		w.head = make([]byte, chunk.StreamMin+1)
	}
	n, err := chunk.ReadFull(r, w.head)
	switch {
	case err != nil && err != io.EOF:
		return err
	case n == 0:
		return ctx.Err()
	case err == io.EOF:
		return w.give(ctx, w.head[:n], give)
	}
	r = io.MultiReader(bytes.NewReader(w.head), r)
	if w.cutter == nil {
		w.cutter = chunk.NewStream(r, w.lane.session.repo.secrets.Polynomial)
	} else {
		w.cutter.Reset(r)
	}
	return w.cut(ctx, give)
}

// cut stores what the cutter cuts, several chunks at once.
func (w *FileWriter) cut(ctx context.Context, give func(format.StreamEntry) error) error {
	p := chunkPutter{session: w.lane.session, give: give}
	defer p.wait()
	for {
		m := takeMemory()
		plain, err := w.cutter.Next(m.plain)
		if err != nil {
			m.giveBack()
			if errors.Is(err, io.EOF) {
				return p.finish()
			}
			return err
		}
		m.plain = plain
		if err := p.put(ctx, m); err != nil {
			return err
		}
	}
}

// give stores a chunk and passes it on.
func (w *FileWriter) give(ctx context.Context, plain []byte, give func(format.StreamEntry) error) error {
	id, err := w.putChunk(ctx, plain)
	if err != nil {
		return err
	}
	return give(format.StreamEntry{Len: int64(len(plain)), ID: id})
}

func (w *FileWriter) putChunk(ctx context.Context, plain []byte) (chunk.ID, error) {
	if err := ctx.Err(); err != nil {
		return chunk.ID{}, err
	}
	return w.lane.putStream(ctx, plain)
}

// PutSparse stores the content of a file of that many bytes that has holes.
// The ranges are its data, sorted, without overlap, at most format.MaxRanges
// when those that touch each other are joined; r gives the bytes of these, one
// run after the other. Fewer are an error, and more are not read.
func (w *FileWriter) PutSparse(ctx context.Context, r io.Reader, size int64, ranges []Range) (Content, error) {
	joined, stored, err := format.JoinRanges(ranges, size)
	if err != nil {
		return Content{}, err
	}
	c, err := w.Put(ctx, io.LimitReader(r, stored))
	if err != nil {
		return c, err
	}
	if c.Size != stored {
		return c, fmt.Errorf("%w: %d bytes of data, %d were expected", io.ErrUnexpectedEOF, c.Size, stored)
	}
	if stored == size {
		return c, nil
	}
	c.Size = size
	c.Ranges, err = w.putChunk(ctx, format.EncodeRanges(joined))
	return c, err
}

// PutXattr makes an extended attribute; a long value is stored as a chunk. It
// keeps no part of value.
func (w *FileWriter) PutXattr(ctx context.Context, name string, value []byte) (x Xattr, err error) {
	if len(value) > format.MaxXattrValue {
		return x, fmt.Errorf("the extended attribute %q has %d bytes, more than %d", name, len(value), format.MaxXattrValue)
	}
	x = Xattr{Name: name, Size: uint32(len(value))}
	if format.InlineXattr(len(value)) {
		x.Value = bytes.Clone(value)
		return x, nil
	}
	x.Chunk, err = w.putChunk(ctx, value)
	return x, err
}
