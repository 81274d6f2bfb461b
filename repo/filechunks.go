package repo

import (
	"context"
	"fmt"

	"vaultfs/repo/format"
)

// ChunksEnd returns where the chunks end that hold the most bytes from off on, at
// least the chunk at off and others only as far as they are whole and lie in the
// same run of data. Who reads a file up to there, and then on, has each chunk decoded
// once, and where it is wanted. Off is less than the file's size; in a hole it is
// the hole's end that is returned.
func (f *File) ChunksEnd(off, most int64) (end int64, err error) {
	if end, err = f.chunkEnd(off); err != nil {
		return 0, err
	}
	data, err := f.NextHole(off)
	for err == nil && end < data {
		var next int64
		if next, err = f.chunkEnd(end); next-off > most {
			break
		}
		end = next
	}
	return end, err
}

// chunkEnd is where the chunk at off ends, or the run of data if that is sooner.
func (f *File) chunkEnd(off int64) (int64, error) {
	if off < 0 || off >= f.size {
		return 0, fmt.Errorf("no chunk at %d of a file of %d bytes", off, f.size)
	}
	if f.starts == nil {
		return f.storedEnd(off)
	}
	i := f.rangeAt(off)
	if i == len(f.ranges) {
		return f.size, nil
	}
	x := f.ranges[i]
	if off < x.Off {
		return x.Off, nil
	}
	end, err := f.storedEnd(f.starts[i] + off - x.Off)
	return min(x.Off+x.Len, x.Off+end-f.starts[i]), err
}

// storedEnd is chunkEnd of what is stored.
func (f *File) storedEnd(off int64) (int64, error) {
	if f.kind == format.ChunkContent {
		return f.stored, nil
	}
	level, id, begin, size := -1, f.id, int64(0), f.stored
	for {
		n, err := f.repo.node(context.Background(), id, level, size)
		if err != nil {
			return 0, err
		}
		i := 0
		for ; off >= begin+n.Entries[i].Len; i++ {
			begin += n.Entries[i].Len
		}
		e := n.Entries[i]
		if n.Level == 0 {
			return begin + e.Len, nil
		}
		level, id, size = n.Level-1, e.ID, e.Len
	}
}
