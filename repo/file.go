package repo

import (
	"context"
	"fmt"
	"io"
	"sort"

	"vaultfs/chunk"
	"vaultfs/repo/format"
)

// A File is a stored stream, for reading. It may be used by several goroutines.
type File struct {
	repo *Repo
	root chunk.ID
	size int64
}

// OpenFile opens an item that is a stream.
func (r *Repo) OpenFile(ctx context.Context, it Item) (*File, error) {
	if it.Kind != ItemFile {
		return nil, fmt.Errorf("%s: a %s, not a file", it.Name, it.Kind)
	}
	if err := r.refresh(ctx); err != nil {
		return nil, err
	}
	n, err := r.node(ctx, it.Root, -1, it.Size)
	if err != nil {
		return nil, fmt.Errorf("file %s: %w", it.Name, err)
	}
	return &File{r, it.Root, n.Size()}, nil
}

// Size is the length in bytes.
func (f *File) Size() int64 { return f.size }

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
	n := v.(*format.StreamNode)
	if (level >= 0 && n.Level != level) || n.Size() != size {
		return nil, &DamageError{"stream node " + id.String()[:16], fmt.Errorf("level %d of %d bytes where %d bytes belong", n.Level, n.Size(), size)}
	}
	return n, nil
}

// ReadAt reads bytes of the stream, as io.ReaderAt does.
func (f *File) ReadAt(p []byte, off int64) (int, error) {
	if off < 0 {
		return 0, fmt.Errorf("read at %d", off)
	}
	short := off+int64(len(p)) > f.size
	if short {
		p = p[:max(0, f.size-off)]
	}
	if len(p) > 0 {
		root, err := f.repo.node(context.Background(), f.root, -1, f.size)
		if err != nil {
			return 0, err
		}
		if n, err := f.read(root, p, off); err != nil {
			return n, err
		}
	}
	if short {
		return len(p), io.EOF
	}
	return len(p), nil
}

// read fills p from byte off of what a node holds.
func (f *File) read(n *format.StreamNode, p []byte, off int64) (done int, err error) {
	ends := make([]int64, len(n.Entries))
	total := int64(0)
	for i, e := range n.Entries {
		total += e.Len
		ends[i] = total
	}
	for i := sort.Search(len(ends), func(i int) bool { return ends[i] > off }); done < len(p); i++ {
		e := n.Entries[i]
		at := off + int64(done) - (ends[i] - e.Len)
		part := p[done:min(len(p), done+int(e.Len-at))]
		got, err := f.readEntry(n.Level, e, part, at)
		if done += got; err != nil {
			return done, err
		}
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
	plain, err := f.repo.readChunk(context.Background(), format.Data, e.ID)
	if err != nil {
		return 0, err
	}
	if int64(len(plain)) != e.Len {
		return 0, &DamageError{"chunk " + e.ID.String()[:16], fmt.Errorf("%d bytes, its node says %d", len(plain), e.Len)}
	}
	return copy(p, plain[off:]), nil
}
