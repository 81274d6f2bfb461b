package repo

import (
	"context"
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
	entries map[int64]format.Entry // by segment; absent ones are zeros
}

// NewDisk starts a disk.
func (s *Session) NewDisk() *DiskWriter {
	return &DiskWriter{session: s, entries: map[int64]format.Entry{}}
}

// SetSegment stores the map of a segment. The chunks that it names have been
// put. A segment that is not set, or has an empty map, is zeros.
func (w *DiskWriter) SetSegment(ctx context.Context, l *Lane, segment int64, m format.SegmentMap) error {
	if len(m) == 0 {
		return nil
	}
	id, err := l.putStructure(ctx, format.DiskMap, m.Encode())
	if err != nil {
		return fmt.Errorf("segment %d: %w", segment, err)
	}
	clusters, grains := m.Counts()
	w.mu.Lock()
	defer w.mu.Unlock()
	w.entries[segment] = format.Entry{Map: id, Clusters: uint64(clusters), Grains: uint64(grains)}
	return nil
}

// Finish stores the pages and the root of a disk of size bytes, and returns
// the root's ID.
func (w *DiskWriter) Finish(ctx context.Context, l *Lane, size int64) (chunk.ID, error) {
	d := &format.Disk{Size: size, SegmentSize: w.session.repo.SegmentSize()}
	for first := int64(0); first < d.Segments(); first += format.PageSegments {
		page := make(format.DiskTable, min(format.PageSegments, d.Segments()-first))
		var sum format.Entry
		for i := range page {
			page[i] = w.entries[first+int64(i)]
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
	return l.putStructure(ctx, format.DiskRoot, d.Encode())
}

// MaxDiskSize bounds the size of a disk, in bytes.
const MaxDiskSize = format.MaxDiskSize

// An Extent is one chunk of a segment, and a SegmentMap its extents in order.
type (
	Extent     = format.Extent
	SegmentMap = format.SegmentMap
)
