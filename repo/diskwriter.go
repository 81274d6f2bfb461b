package repo

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"vaultfs/chunk"
	"vaultfs/repo/format"
)

// A DiskWriter collects the segments of one disk. SetSegment may be called by
// several goroutines at once, each with a lane of its own.
type DiskWriter struct {
	session *Session
	mu      sync.Mutex
	entries map[int64]diskSegment // by number; absent ones are zeros
	base    *Disk                 // of GoOnFrom; nil for none
}

type diskSegment struct {
	format.Entry
	base *Disk // that it was taken over from; nil for one that was stored
}

// NewDisk starts a disk.
func (s *Session) NewDisk() *DiskWriter {
	return &DiskWriter{session: s, entries: map[int64]diskSegment{}}
}

// GoOnFrom says that chunks of the disk are named without having been put, where a
// disk of the session's base has them in the same place. Base is what OpenBase
// gave. It is called before any segment is set.
func (w *DiskWriter) GoOnFrom(base *Disk) error {
	if base.openedBy != w.session {
		return errors.New("the disk to go on from was not opened by this session")
	}
	w.base = base
	return nil
}

// SetSegment stores the map of a segment. The chunks that it names have been
// put, or are those of GoOnFrom. A segment that is not set, or has an empty map, is zeros.
func (w *DiskWriter) SetSegment(ctx context.Context, l *Lane, segment int64, m format.SegmentMap) error {
	if len(m) == 0 {
		w.set(segment, diskSegment{})
		return nil
	}
	id, err := l.putStructure(ctx, format.DiskMap, m.Encode())
	if err != nil {
		return fmt.Errorf("segment %d: %w", segment, err)
	}
	clusters, grains := m.Counts()
	w.set(segment, diskSegment{Entry: format.Entry{Map: id, Clusters: uint64(clusters), Grains: uint64(grains)}})
	return nil
}

// Inherit takes a segment over from a disk of the session's base as it is, with
// its map neither read nor stored. Base is what OpenBase gave. It may be called
// by several goroutines at once.
func (w *DiskWriter) Inherit(base *Disk, segment int64) error {
	if base.openedBy != w.session {
		return fmt.Errorf("segment %d: the disk to take it over from was not opened by this session", segment)
	}
	e, err := base.entry(int(segment))
	if err != nil {
		return fmt.Errorf("segment %d: %w", segment, err)
	}
	w.set(segment, diskSegment{e, base})
	return nil
}

func (w *DiskWriter) set(segment int64, e diskSegment) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if e.Map.IsZero() {
		delete(w.entries, segment)
		return
	}
	w.entries[segment] = e
}

// Finish stores the pages and the root of a disk of size bytes, and returns
// the root's ID.
func (w *DiskWriter) Finish(ctx context.Context, l *Lane, size int64) (chunk.ID, error) {
	d := &format.Disk{Size: size, SegmentSize: w.session.repo.SegmentSize()}
	last := d.Segments() - 1
	if from := w.entries[last].base; from != nil && size < d.SegmentSize*d.Segments() && size < from.Size() {
		return chunk.ID{}, fmt.Errorf("segment %d: it was taken over from a larger disk and holds more than is left of this one", last)
	}
	for first := int64(0); first < d.Segments(); first += format.PageSegments {
		page := make(format.DiskTable, min(format.PageSegments, d.Segments()-first))
		var sum format.Entry
		for i := range page {
			page[i] = w.entries[first+int64(i)].Entry
			sum.Clusters += page[i].Clusters
			sum.Grains += page[i].Grains
		}
		if sum.Grains > 0 {
			var err error
			if sum.Map, err = l.putStructure(ctx, format.DiskPage, page.EncodePage()); err != nil {
				return chunk.ID{}, err
			}
		}
		d.Pages = append(d.Pages, sum)
	}
	root, err := l.putStructure(ctx, format.DiskRoot, d.Encode())
	if err == nil {
		w.tellInherited(root)
	}
	return root, err
}

// tellInherited tells the session what the finished disk has of its base.
func (w *DiskWriter) tellInherited(root chunk.ID) {
	d := inheritedDisk{base: w.base}
	for i, e := range w.entries {
		if e.base != nil {
			d.base = e.base
		}
		if e.base != nil || w.sameInBase(i, e.Entry) {
			d.maps = append(d.maps, e.Map)
		}
	}
	w.session.inherited.set(root, d)
}

// sameInBase tells whether a segment is as that of the base of GoOnFrom.
func (w *DiskWriter) sameInBase(i int64, e format.Entry) bool {
	if w.base == nil || i >= int64(w.base.Segments()) {
		return false
	}
	was, err := w.base.entry(int(i))
	return err == nil && was == e
}

// MaxDiskSize bounds the size of a disk, in bytes.
const MaxDiskSize = format.MaxDiskSize

// An Extent is one chunk of a segment, and a SegmentMap its extents in order.
type (
	Extent     = format.Extent
	SegmentMap = format.SegmentMap
)
