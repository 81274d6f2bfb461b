package restore

import (
	"context"
	"fmt"

	"vaultfs/repo"
)

// A layout says where a source holds the extents of a disk. They are read one by
// one, each whole and to its place, past the memory that other readers share.
type layout struct {
	disk *repo.Disk
	head int64 // bytes of the source before the disk's data
	size int64 // of the source, in bytes
	// locate is the offset in the source of a guest byte that an extent holds. It
	// grows with the guest's, and an extent's bytes lie in a row.
	locate func(off int64) (int64, error)
}

// A part is the extents that a window is made of, all of one segment.
type part struct {
	*layout
	start   int64 // of the segment, in the guest
	extents []repo.Extent
	often   map[chunkID]bool // chunks that the segment has more than once
}

type chunkID [32]byte

// plan divides the disk's data into windows of whole extents that lie in a row,
// none longer than windowSize unless it is one extent. Holes are told of too.
func (l *layout) plan(emit func(window) error) error {
	end := l.head
	for i := range l.disk.Segments() {
		if has, err := l.disk.HasData(i); err != nil {
			return err
		} else if !has {
			continue
		}
		m, err := l.disk.Segment(i)
		if err != nil {
			return err
		}
		p := part{layout: l, start: int64(i) * l.disk.SegmentSize(), extents: m, often: repeated(m)}
		for len(p.extents) > 0 {
			w, n, err := p.window()
			if err != nil {
				return err
			}
			if w.off > end {
				if err := emit(window{off: end, n: w.off - end, hole: true}); err != nil {
					return err
				}
			}
			if err := emit(w); err != nil {
				return err
			}
			end, p.extents = w.off+w.n, p.extents[n:]
		}
	}
	if end == l.size {
		return nil
	}
	return emit(window{off: end, n: l.size - end, hole: true})
}

// window is the first window of the part's extents, and the number of these in it.
func (p part) window() (w window, n int, err error) {
	for _, e := range p.extents {
		inDisk := p.inDisk(e)
		if inDisk <= 0 {
			return w, 0, fmt.Errorf("%w: the disk's map has an extent of %d bytes at %d", repo.ErrDamaged, e.Len, p.start+e.Off)
		}
		at, err := p.locate(p.start + e.Off)
		if err != nil {
			return w, 0, err
		}
		if n == 0 {
			w.off = at
		} else if at != w.off+w.n || w.n+e.Len > windowSize {
			break
		}
		w.n += inDisk
		n++
	}
	p.extents = p.extents[:n]
	w.part = &p
	return w, n, nil
}

// inDisk is how many bytes of an extent are the disk's: the last may reach beyond
// its end.
func (p *part) inDisk(e repo.Extent) int64 {
	return min(e.Len, p.disk.Size()-p.start-e.Off)
}

// read decodes the part's extents into buf, one after the other, and returns how
// many bytes that was.
func (p *part) read(ctx context.Context, buf []byte) (n int64, err error) {
	for _, e := range p.extents {
		if err := p.readExtent(ctx, e, buf[n:n+e.Len:n+e.Len]); err != nil {
			return n, err
		}
		n += e.Len
	}
	return n, nil
}

// readExtent decodes an extent into dst, which is as long. A chunk that is needed
// again soon is decoded once, in the memory that all readers share.
func (p *part) readExtent(ctx context.Context, e repo.Extent, dst []byte) error {
	if p.often[chunkID(e.ID)] {
		_, err := p.disk.ReadAt(dst[:p.inDisk(e)], p.start+e.Off)
		return err
	}
	b, err := p.disk.ReadExtent(ctx, e, dst)
	if err == nil && &b[0] != &dst[0] {
		copy(dst, b)
	}
	return err
}

// length is that of the part's extents, in bytes.
func (p *part) length() (n int64) {
	for _, e := range p.extents {
		n += e.Len
	}
	return n
}

// repeated returns the chunks that a segment has more than once.
func repeated(m repo.SegmentMap) map[chunkID]bool {
	often, seen := map[chunkID]bool{}, make(map[chunkID]bool, len(m))
	for _, e := range m {
		id := chunkID(e.ID)
		if seen[id] {
			often[id] = true
		}
		seen[id] = true
	}
	return often
}
