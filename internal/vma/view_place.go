package vma

import (
	"fmt"
	"sort"

	"vaultfs/internal/bitset"
)

const (
	wordBits         = 64
	clustersPerWord  = wordBits / blocksPerCluster
	segmentAlignment = clustersPerWord * clusterSize // a segment's bitmap is whole words

	// maxViewSegments bounds what a View holds in memory, 8 bytes a segment.
	maxViewSegments = 1 << 24
)

// A viewDrive is a drive and its place among the clusters and blocks of all
// drives, which follow one another.
type viewDrive struct {
	Drive
	src        Source
	clusters   int64 // of the drive
	perSegment int64 // clusters of a whole segment
	first      int64 // clusters of the drives before

	// before[s] is the number of blocks stored before segment s, those of the
	// drives before included; the last is the number before the next drive.
	before []int64
}

// newViewDrive makes one pass over the source's counts. Clusters and blocks are
// those of the drives before.
func newViewDrive(drive Drive, src Source, clusters, blocks int64) (*viewDrive, error) {
	if size := src.Size(); size != drive.Size {
		return nil, fmt.Errorf("%v: its disk has %d bytes, the archive had %d", &drive, size, drive.Size)
	}
	segment := src.SegmentSize()
	if segment <= 0 || segment%segmentAlignment != 0 {
		return nil, fmt.Errorf("%v: segments of %d bytes: not a multiple of %d", &drive, segment, segmentAlignment)
	}
	segments := divideUp(drive.Size, segment)
	if segments > maxViewSegments {
		return nil, fmt.Errorf("%v: %d segments: an archive is computed of at most %d", &drive, segments, maxViewSegments)
	}
	d := &viewDrive{
		Drive: drive, src: src,
		clusters:   drive.clusters(),
		perSegment: segment / clusterSize,
		first:      clusters,
		before:     make([]int64, segments+1),
	}
	d.before[0] = blocks
	for s := range segments {
		n := int64(src.Grains(int(s)))
		if n > d.grainsOf(s) {
			return nil, fmt.Errorf("%v: segment %d: %d grains hold data of %d", d, s, n, d.grainsOf(s))
		}
		d.before[s+1] = d.before[s] + n
	}
	return d, nil
}

func (d *viewDrive) segments() int64 { return int64(len(d.before)) - 1 }

// blocks is the number of blocks stored before the next drive.
func (d *viewDrive) blocks() int64 { return d.before[d.segments()] }

// grainsOf is the number of grains of segment s, of zeros or not.
func (d *viewDrive) grainsOf(s int64) int64 {
	whole := d.perSegment * blocksPerCluster
	return min(whole, divideUp(d.Size, blockSize)-s*whole)
}

// bitmap returns the bitmap of segment s, nil for zeros, and holds it against
// the count: any other would move every later byte of the archive.
func (d *viewDrive) bitmap(s int64) ([]uint64, error) {
	want := d.before[s+1] - d.before[s]
	if want == 0 {
		return nil, nil
	}
	bitmap, err := d.src.GrainBitmap(int(s))
	if err != nil {
		return nil, err
	}
	grains := d.grainsOf(s)
	if int64(len(bitmap))*wordBits < grains {
		return nil, fmt.Errorf("%v: segment %d: bitmap of %d words for %d grains", d, s, len(bitmap), grains)
	}
	all, inside := bitset.Ones(bitmap), bitset.OnesBefore(bitmap, grains)
	if all != want || inside != want {
		return nil, fmt.Errorf("%v: segment %d: bitmap has %d grains, %d of them in the drive, the count was %d",
			d, s, all, inside, want)
	}
	return bitmap, nil
}

// mask is the mask of a cluster of a segment that has the bitmap. The bits of
// both are in the same order, so it is a sixteenth of a word.
func mask(bitmap []uint64, cluster int64) uint16 {
	if bitmap == nil {
		return 0
	}
	return uint16(bitmap[cluster/clustersPerWord] >> (cluster % clustersPerWord * blocksPerCluster))
}

// find returns the extent that holds a byte of the file at or after the header's
// end, and the extent's own offset.
//
// Let f(n) be the offset at which an extent would begin if cluster n were its
// first and n/58 extents lay before. It never falls as n rises, and it is exact
// where n is a multiple of 58. So the last segment whose first cluster has an f
// of at most off holds the extent, or the extent begins before that segment and
// reaches into it.
func (v *View) find(off int64) (extent, start int64, err error) {
	if len(v.drives) == 0 {
		return 0, v.startOf(0, 0), nil
	}
	d := v.drives[sort.Search(len(v.drives)-1, func(i int) bool { return v.offset(v.drives[i+1], 0) > off })]
	s := int64(sort.Search(int(d.segments()-1), func(i int) bool { return v.offset(d, int64(i)+1) > off }))
	bitmap, err := d.bitmap(s)
	if err != nil {
		return 0, 0, err
	}
	first := d.first + s*d.perSegment
	end := min(first+d.perSegment, d.first+d.clusters)
	startOf := func(extent int64) int64 {
		return v.startOf(extent, d.before[s]+bitset.OnesBefore(bitmap, (extent*viewSlots-first)*blocksPerCluster))
	}
	low := divideUp(first, viewSlots) // the first extent that begins in the segment
	n := int64(sort.Search(int(max(0, divideUp(end, viewSlots)-low)), func(i int) bool { return startOf(low+int64(i)) > off }))
	if n > 0 {
		return low + n - 1, startOf(low + n - 1), nil
	}
	before, err := v.blocksBefore((low - 1) * viewSlots)
	return low - 1, v.startOf(low-1, before), err
}

// offset is f of the first cluster of a segment.
func (v *View) offset(d *viewDrive, segment int64) int64 {
	return v.startOf((d.first+segment*d.perSegment)/viewSlots, d.before[segment])
}

// startOf is the offset of an extent that has so many blocks before it.
func (v *View) startOf(extent, blocks int64) int64 {
	return int64(len(v.header)) + extent*extentHeaderSize + blocks*blockSize
}

// blocksBefore counts the blocks that are stored before a cluster, which is
// counted over all drives.
func (v *View) blocksBefore(cluster int64) (int64, error) {
	d := v.driveOf(cluster)
	s, inSegment := (cluster-d.first)/d.perSegment, (cluster-d.first)%d.perSegment
	bitmap, err := d.bitmap(s)
	return d.before[s] + bitset.OnesBefore(bitmap, inSegment*blocksPerCluster), err
}

// driveOf finds the drive of a cluster, which is counted over all drives.
func (v *View) driveOf(cluster int64) *viewDrive {
	return v.drives[sort.Search(len(v.drives)-1, func(i int) bool { return v.drives[i+1].first > cluster })]
}

func divideUp(a, b int64) int64 { return (a + b - 1) / b }
