package restore

import (
	"context"
	"fmt"
	"io"

	"vaultfs/internal/qcow2"
	"vaultfs/repo"
)

// The formats that a disk can be written in.
const (
	QCOW2 = "qcow2"
	Raw   = "raw"
)

// A Source is an item in the form it is to be written in.
type Source struct {
	content
	layout *layout // nil if the content is no disk's
	data   int64   // bytes that are not in the content's holes
	takes  int64   // bytes it takes where it is written sparsely
	format string
	item   repo.Item
}

// content is what is read: the bytes, and where there are none.
type content interface {
	sized
	// NextData and NextHole are those of [repo.Disk].
	NextData(off int64) (int64, error)
	NextHole(off int64) (int64, error)
}

// Open opens an item for writing it somewhere. Format is QCOW2 or Raw for a
// disk; a file is written as it is, whatever the format.
func Open(ctx context.Context, r *repo.Repo, it repo.Item, format string) (*Source, error) {
	if it.Kind != repo.ItemDisk {
		f, err := r.OpenFile(ctx, it)
		if err != nil {
			return nil, err
		}
		return &Source{content: f, data: f.Allocated(), takes: f.Allocated(), item: it}, nil
	}
	d, err := openDisk(ctx, r, it)
	if err != nil {
		return nil, err
	}
	s := &Source{format: format, item: it}
	switch format {
	case Raw:
		s.content = d
		s.layout = &layout{disk: d, size: d.Size(), locate: func(off int64) (int64, error) { return off, nil }}
	case QCOW2:
		v, err := qcow2.New(d)
		if err != nil {
			return nil, fmt.Errorf("disk %s as qcow2: %w", it.Name, err)
		}
		s.content = v
		s.layout = &layout{disk: d, head: v.DataOffset(), size: v.Size(), locate: v.Locate}
	default:
		return nil, fmt.Errorf("disk %s: format %q: want %s or %s", it.Name, format, QCOW2, Raw)
	}
	s.data = s.layout.head + d.Allocated()
	s.takes = s.data
	return s, nil
}

// openDisk opens a disk and sees to it that what it says of itself can be read.
func openDisk(ctx context.Context, r *repo.Repo, it repo.Item) (*repo.Disk, error) {
	d, err := r.OpenDisk(ctx, it)
	if err != nil {
		return nil, err
	}
	if err := d.Check(); err != nil {
		return nil, fmt.Errorf("disk %s: %w", it.Name, err)
	}
	return d, nil
}

// Format is QCOW2 or Raw of a disk, VMA of an archive, and "" for any other item.
func (s *Source) Format() string { return s.format }

// dense is content without holes.
type dense struct{ sized }

type sized interface {
	io.ReaderAt
	Size() int64 // bytes
}

func (d dense) NextData(off int64) (int64, error) {
	if off >= d.Size() {
		return 0, io.EOF
	}
	return off, nil
}

func (d dense) NextHole(int64) (int64, error) { return d.Size(), nil }
