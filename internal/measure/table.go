package measure

import "sync"

// A table remembers the fingerprints of chunks in memory that is taken at once
// and never grows. Each may lie in one bucket alone; in a full bucket it takes
// the place of another, which is then not known any more.
type table struct {
	mu      [64]sync.Mutex // of a share of the buckets each
	buckets [][bucketSize]uint64
}

const (
	bucketSize = 8
	tableMost  = 128 << 20 // bytes
)

// newTable has room for about so many fingerprints, if they take no more than
// tableMost.
func newTable(chunks int64) *table {
	n := int64(64)
	for n*bucketSize < 2*chunks && n*bucketSize*8 < tableMost {
		n *= 2
	}
	t := &table{buckets: make([][bucketSize]uint64, n)}
	for i := range t.buckets {
		t.buckets[i][0] = 0 // the page is there from now on, so that memory does not grow later
	}
	return t
}

// take tells whether a fingerprint was not there, and puts it there.
func (t *table) take(fingerprint uint64) bool {
	fingerprint = max(fingerprint, 1)
	i := (fingerprint >> 8) % uint64(len(t.buckets))
	lock := &t.mu[i%uint64(len(t.mu))]
	lock.Lock()
	defer lock.Unlock()
	bucket := &t.buckets[i]
	for at, have := range bucket {
		switch have {
		case fingerprint:
			return false
		case 0:
			bucket[at] = fingerprint
			return true
		}
	}
	bucket[fingerprint%bucketSize] = fingerprint
	return true
}
