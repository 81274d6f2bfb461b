package index

import "sync/atomic"

// hotBlocks is how many blocks a table may have that keeps those that were read:
// 8 MiB, about 180,000 chunks. A chunk may be in any block with the same
// likelihood, so that keeping some of a larger table's would rarely help. As each
// table is at least twice as large as the next, all that are kept take 16 MiB at
// most.
const hotBlocks = 2048

// hot are blocks of a small table that were read, and found to be right.
type hot []atomic.Pointer[[blockSize]byte]

func newHot(blocks int64) hot {
	if blocks > hotBlocks {
		return nil
	}
	return make(hot, blocks)
}

func (h hot) get(i int) *[blockSize]byte {
	if h == nil {
		return nil
	}
	return h[i].Load()
}

// keep keeps a block, and tells whether it is to stay as it is from now on.
func (h hot) keep(i int, b *[blockSize]byte) bool {
	if h == nil {
		return false
	}
	h[i].Store(b)
	return true
}
