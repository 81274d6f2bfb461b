package qcow2

import (
	"fmt"
	"sort"
)

// allocation knows how many clusters are allocated before each segment, and how
// many L2 tables are needed before each L2 span.
type allocation struct {
	clusters   int64 // of the disk, allocated or not; the last may be partial
	perSegment int64 // clusters of a whole segment

	before       []int64  // [s]: allocated clusters before segment s; the last is their total
	tablesBefore []uint32 // [t]: L2 tables before span t; the last is their total
}

// count makes one pass over the source's counts.
func count(src Source, size int64) (allocation, error) {
	segmentSize := src.SegmentSize()
	if segmentSize < minSegmentSize || segmentSize > maxSegmentSize || segmentSize&(segmentSize-1) != 0 {
		return allocation{}, fmt.Errorf("segment size %d: not a power of two from %d to %d",
			segmentSize, minSegmentSize, maxSegmentSize)
	}
	a := allocation{
		clusters:   divideUp(size, clusterSize),
		perSegment: segmentSize / clusterSize,
		before:     make([]int64, divideUp(size, segmentSize)+1),
	}
	for s := range a.segments() {
		n := int64(src.Clusters(int(s)))
		if n > a.clustersOf(s) {
			return allocation{}, fmt.Errorf("segment %d: %d clusters allocated of %d", s, n, a.clustersOf(s))
		}
		a.before[s+1] = a.before[s] + n
	}
	a.countTables()
	return a, nil
}

// countTables fills tablesBefore: a span has an L2 table if it has a cluster.
func (a *allocation) countTables() {
	spans := divideUp(a.clusters, entriesPerCluster)
	perSpan := entriesPerCluster / a.perSegment
	a.tablesBefore = make([]uint32, spans+1)
	for t := range spans {
		a.tablesBefore[t+1] = a.tablesBefore[t]
		if a.before[t*perSpan] < a.before[min((t+1)*perSpan, a.segments())] {
			a.tablesBefore[t+1]++
		}
	}
}

func (a *allocation) segments() int64 { return int64(len(a.before)) - 1 }
func (a *allocation) spans() int64    { return int64(len(a.tablesBefore)) - 1 }
func (a *allocation) total() int64    { return a.before[a.segments()] }
func (a *allocation) tables() int64   { return int64(a.tablesBefore[a.spans()]) }

// clustersOf is the number of clusters of segment s, allocated or not.
func (a *allocation) clustersOf(s int64) int64 {
	return min(a.perSegment, a.clusters-s*a.perSegment)
}

// allocated is the number of allocated clusters of segment s, 0 past the disk's end.
func (a *allocation) allocated(s int64) int64 {
	if s >= a.segments() {
		return 0
	}
	return a.before[s+1] - a.before[s]
}

// hasTable reports whether span t has an L2 table.
func (a *allocation) hasTable(t int64) bool {
	return a.tablesBefore[t] < a.tablesBefore[t+1]
}

// segmentOf finds the segment of the allocated cluster of a rank below total.
func (a *allocation) segmentOf(rank int64) int64 {
	return int64(sort.Search(int(a.segments()), func(s int) bool { return a.before[s+1] > rank }))
}

// spanOf finds the span that the L2 table of an ordinal below tables maps.
func (a *allocation) spanOf(table int64) int64 {
	return int64(sort.Search(int(a.spans()), func(t int) bool { return int64(a.tablesBefore[t+1]) > table }))
}
