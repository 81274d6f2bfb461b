package repo

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sort"

	"vaultfs/chunk"
	"vaultfs/repo/format"
)

// A File is a stored stream or a file of a tree, for reading. It may be used by
// several goroutines.
type File struct {
	repo   *Repo
	kind   format.ContentKind
	id     chunk.ID
	size   int64
	stored int64   // bytes of all runs of data
	ranges []Range // of a file with holes
	starts []int64 // where in what is stored each of ranges begins; nil for a file without holes

	ahead chan struct{} // one token for each chunk that is being read ahead
}

// OpenFile opens an item that is a stream.
func (r *Repo) OpenFile(ctx context.Context, it Item) (*File, error) {
	if it.Kind != ItemFile {
		return nil, fmt.Errorf("%s: a %s, not a file", it.Name, it.Kind)
	}
	if err := r.refresh(ctx); err != nil {
		return nil, err
	}
	f, err := r.openContent(ctx, Content{Kind: format.StreamContent, ID: it.Root, Size: it.Size})
	if err != nil {
		return nil, fmt.Errorf("file %s: %w", it.Name, err)
	}
	return f, nil
}

// openContent opens the content of a file.
func (r *Repo) openContent(ctx context.Context, c Content) (*File, error) {
	f := &File{repo: r, kind: c.Kind, id: c.ID, size: c.Size, stored: c.Size, ahead: make(chan struct{}, aheadFileChunks)}
	if !c.Ranges.IsZero() {
		if err := f.readRanges(ctx, c.Ranges); err != nil {
			return nil, err
		}
	}
	switch {
	case c.Kind == format.ChunkContent && f.stored > chunk.MaxSize:
		return nil, &DamageError{"chunk " + c.ID.String()[:16], fmt.Errorf("a file has %d bytes in it, more than a chunk can hold", f.stored)}
	case c.Kind == format.StreamContent:
		if _, err := r.node(ctx, c.ID, -1, f.stored); err != nil {
			return nil, err
		}
	}
	return f, nil
}

func (f *File) readRanges(ctx context.Context, id chunk.ID) error {
	b, err := f.repo.readChunk(ctx, format.Data, id)
	if err != nil {
		return err
	}
	if f.ranges, f.stored, err = format.DecodeRanges(b, f.size); err != nil {
		return damage("runs of data", err)
	}
	f.starts = make([]int64, 0, len(f.ranges))
	at := int64(0)
	for _, x := range f.ranges {
		f.starts = append(f.starts, at)
		at += x.Len
	}
	return nil
}

// storedSize is the number of bytes of a content that are stored: all but the
// holes.
func (r *Repo) storedSize(ctx context.Context, c Content) (int64, error) {
	if c.Ranges.IsZero() {
		return c.Size, nil
	}
	b, err := r.readChunk(ctx, format.Data, c.Ranges)
	if err != nil {
		return 0, err
	}
	_, stored, err := format.DecodeRanges(b, c.Size)
	return stored, damage("runs of data", err)
}

// Size is the length in bytes, holes included.
func (f *File) Size() int64 { return f.size }

// Allocated is the number of bytes that are not in a hole.
func (f *File) Allocated() int64 { return f.stored }

// ReadAt reads bytes of the file, as io.ReaderAt does. Holes are zeros.
func (f *File) ReadAt(p []byte, off int64) (n int, err error) {
	if off < 0 {
		return 0, fmt.Errorf("read at %d", off)
	}
	short := off > f.size-int64(len(p))
	if short {
		p = p[:max(0, f.size-off)]
	}
	if f.starts == nil {
		n, err = f.readStored(p, off)
	} else {
		n, err = f.readSparse(p, off)
	}
	if err == nil && short {
		err = io.EOF
	}
	return n, err
}

// readSparse fills p from byte off of a file with holes.
func (f *File) readSparse(p []byte, off int64) (n int, err error) {
	for i := f.rangeAt(off); n < len(p); i++ {
		at := off + int64(n)
		hole := int64(len(p) - n)
		if i < len(f.ranges) {
			hole = min(hole, max(0, f.ranges[i].Off-at))
		}
		clear(p[n : n+int(hole)])
		n += int(hole)
		if n == len(p) {
			return n, nil
		}
		at += hole
		in := at - f.ranges[i].Off
		part := p[n : n+int(min(int64(len(p)-n), f.ranges[i].Len-in))]
		done, err := f.readStored(part, f.starts[i]+in)
		if n += done; err != nil {
			return n, err
		}
	}
	return n, nil
}

// rangeAt is the place of the first run of data that ends after off.
func (f *File) rangeAt(off int64) int {
	return sort.Search(len(f.ranges), func(i int) bool { return f.ranges[i].Off+f.ranges[i].Len > off })
}

// NextData returns the first byte at or after off that is not in a hole, or
// io.EOF if only holes follow.
func (f *File) NextData(off int64) (int64, error) {
	if off >= f.size {
		return 0, io.EOF
	}
	if f.starts == nil {
		return off, nil
	}
	i := f.rangeAt(off)
	if i == len(f.ranges) {
		return 0, io.EOF
	}
	return max(off, f.ranges[i].Off), nil
}

// NextHole returns the first byte at or after off that is in a hole; the end of
// the file counts as one.
func (f *File) NextHole(off int64) (int64, error) {
	if f.starts == nil || off >= f.size {
		return f.size, nil
	}
	if i := f.rangeAt(off); i < len(f.ranges) && f.ranges[i].Off <= off {
		return f.ranges[i].Off + f.ranges[i].Len, nil // a run is followed by a hole or the end
	}
	return off, nil
}

// readStored fills p from byte off of what is stored of the file, which holds
// as much.
func (f *File) readStored(p []byte, off int64) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	if f.kind == format.ChunkContent {
		return f.readEntry(0, format.StreamEntry{Len: f.stored, ID: f.id}, p, off)
	}
	root, err := f.repo.node(context.Background(), f.id, -1, f.stored)
	if err != nil {
		return 0, err
	}
	return f.read(root, p, off)
}

// node reads a stream node of a level, or of any if level is -1, that holds
// size bytes.
func (r *Repo) node(ctx context.Context, id chunk.ID, level int, size int64) (*format.StreamNode, error) {
	v, err := r.maps.get(id, func() (any, int64, error) {
		b, err := r.fetch(context.WithoutCancel(ctx), format.Stream, id)
		if err != nil {
			return nil, 0, err
		}
		n, err := format.DecodeStreamNode(b)
		return n, int64(len(b)) + 64, damage("stream node", err)
	})
	if err != nil {
		return nil, err
	}
	n, ok := v.(*format.StreamNode)
	if !ok {
		return nil, &DamageError{"stream node " + id.String()[:16], errors.New("it is something else")}
	}
	if (level >= 0 && n.Level != level) || n.Size() != size {
		return nil, &DamageError{"stream node " + id.String()[:16], fmt.Errorf("level %d of %d bytes where %d bytes belong", n.Level, n.Size(), size)}
	}
	return n, nil
}

// read fills p from byte off of what a node holds.
func (f *File) read(n *format.StreamNode, p []byte, off int64) (done int, err error) {
	begin := int64(0) // of the entry
	for _, e := range n.Entries {
		if done == len(p) {
			break
		}
		if at := off + int64(done) - begin; at < e.Len {
			part := p[done:min(int64(len(p)), int64(done)+e.Len-at)]
			got, err := f.readEntry(n.Level, e, part, at)
			if done += got; err != nil {
				return done, err
			}
		}
		begin += e.Len
	}
	return done, nil
}

func (f *File) readEntry(level int, e format.StreamEntry, p []byte, off int64) (int, error) {
	if level > 0 {
		child, err := f.repo.node(context.Background(), e.ID, level-1, e.Len)
		if err != nil {
			return 0, err
		}
		return f.read(child, p, off)
	}
	p = p[:min(int64(len(p)), e.Len-off)]
	if err := f.repo.readPart(p, dataChunk{e.ID, e.Len}, off); err != nil {
		return 0, err
	}
	return len(p), nil
}
