package vzdump

import (
	"cmp"
	"container/list"
	"context"
	"fmt"
	"slices"

	"vaultfs/chunk"
	"vaultfs/ingest"
)

// A segment is one of a drive of which some clusters have come and not all, and
// at least one of these holds data.
type segment struct {
	drive   *drive
	number  int64
	blocks  []block       // in memory
	spooled record        // the last of those in the spool
	place   *list.Element // among the segments with blocks in memory; nil if there are none
}

// A block is a grain of a segment, in a page of memory.
type block struct {
	grain uint32 // its number in the segment
	page  uint32
}

// sorted puts the blocks in the order of the segment.
func (s *segment) sorted() []block {
	slices.SortFunc(s.blocks, func(a, b block) int { return cmp.Compare(a.grain, b.grain) })
	return s.blocks
}

// A segmentImage is one complete segment as a part of the image of its disk.
// What has been read of it is gone: its pages have been given back.
type segmentImage struct {
	size   int64 // of the disk, in bytes
	start  int64 // of the segment
	blocks []block
	pages  *pages
}

// Size is that of the disk.
func (m *segmentImage) Size() int64 { return m.size }

// Data gives the runs of blocks.
func (m *segmentImage) Data(_ context.Context, off, n int64) (runs []ingest.Run, err error) {
	for _, b := range m.blocks[m.find(off):] {
		at := m.start + int64(b.grain)*chunk.Grain
		if at >= off+n {
			break
		}
		size := min(chunk.Grain, off+n-at)
		if k := len(runs) - 1; k >= 0 && runs[k].Off+runs[k].Len == at {
			runs[k].Len += size
			continue
		}
		runs = append(runs, ingest.Run{Off: at, Len: size})
	}
	return runs, nil
}

// find is the place of the block that begins at off, or of the next one.
func (m *segmentImage) find(off int64) int {
	i, _ := slices.BinarySearchFunc(m.blocks, off, func(b block, off int64) int {
		return cmp.Compare(m.start+int64(b.grain)*chunk.Grain, off)
	})
	return i
}

// ReadAt reads whole blocks of a run, and of the last one what lies in the disk.
func (m *segmentImage) ReadAt(_ context.Context, p []byte, off int64) error {
	first := m.find(off)
	i := first
	for ; len(p) > 0; i++ {
		if i == len(m.blocks) || m.start+int64(m.blocks[i].grain)*chunk.Grain != off {
			return fmt.Errorf("%d bytes at %d were not in the archive", len(p), off)
		}
		n := copy(p, m.pages.at(m.blocks[i].page))
		p, off = p[n:], off+int64(n)
	}
	m.pages.giveBack(m.blocks[first:i])
	return nil
}
