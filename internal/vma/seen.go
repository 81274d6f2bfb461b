package vma

import (
	"errors"
	"math/bits"
)

// A seenSet remembers which clusters of a drive have come. Its memory follows
// what has come, not the size of the drive: a page covers 256 MiB of the drive
// and is dropped for one bit when it is full.
type seenSet struct {
	clusters int64 // of the drive
	seen     int64 // of them
	open     map[int64]*seenPage
	full     []uint64 // a bit for each page, as far as any is full
	budget   *int     // of pages that may still be opened, shared by all drives
}

const (
	pageWords    = 64
	pageClusters = 64 * pageWords
)

type seenPage struct {
	bits [pageWords]uint64
	seen int
}

// maxOpenPages bounds the pages that are neither empty nor full, of all drives
// of an archive: 75 MB, for clusters that are strewn over 32 TiB.
const maxOpenPages = 1 << 17

var errStrewn = errors.New("clusters are strewn over too many places: more than 32 TiB of the drives are begun and not complete")

// add notes a cluster. It returns false if that had come already.
func (s *seenSet) add(cluster int64) (bool, error) {
	n := cluster / pageClusters
	if s.isFull(n) {
		return false, nil
	}
	p := s.open[n]
	if p == nil {
		if *s.budget == 0 {
			return false, errStrewn
		}
		*s.budget--
		p = new(seenPage)
		s.open[n] = p
	}
	word, bit := cluster%pageClusters/64, uint64(1)<<(cluster%64)
	if p.bits[word]&bit != 0 {
		return false, nil
	}
	p.bits[word] |= bit
	p.seen++
	s.seen++
	if int64(p.seen) == min(pageClusters, s.clusters-n*pageClusters) {
		s.fill(n)
	}
	return true, nil
}

// fill notes that all clusters of a page have come.
func (s *seenSet) fill(n int64) {
	delete(s.open, n)
	*s.budget++
	for int64(len(s.full)) <= n/64 {
		s.full = append(s.full, 0)
	}
	s.full[n/64] |= 1 << (n % 64)
}

func (s *seenSet) isFull(n int64) bool {
	return n/64 < int64(len(s.full)) && s.full[n/64]>>(n%64)&1 == 1
}

// holds tells whether the clusters from first up to end, which is not among
// them, have all come.
func (s *seenSet) holds(first, end int64) bool {
	for first < end {
		n := first / pageClusters
		stop := min(end, (n+1)*pageClusters)
		if !s.isFull(n) && !s.open[n].holds(first%pageClusters, first%pageClusters+stop-first) {
			return false
		}
		first = stop
	}
	return true
}

// holds is seenSet.holds within a page; nil is an empty one.
func (p *seenPage) holds(first, end int64) bool {
	if p == nil {
		return false
	}
	for first < end {
		word, low := first/64, first%64
		n := min(end-first, 64-low)
		if mask := ^uint64(0) >> (64 - n) << low; p.bits[word]&mask != mask {
			return false
		}
		first += n
	}
	return true
}

// firstMissing is the first cluster that has not come. There is one.
func (s *seenSet) firstMissing() int64 {
	n := int64(0)
	for s.isFull(n) {
		n++
	}
	p := s.open[n]
	if p == nil {
		return n * pageClusters
	}
	for i, word := range p.bits {
		if word != ^uint64(0) {
			return n*pageClusters + int64(i)*64 + int64(bits.TrailingZeros64(^word))
		}
	}
	return (n + 1) * pageClusters
}
