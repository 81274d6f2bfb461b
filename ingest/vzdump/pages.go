package vzdump

import (
	"fmt"
	"sync"

	"golang.org/x/sys/unix"
	"vaultfs/chunk"
)

// pages is the memory that blocks wait in until their segment is complete: a
// fixed number of grains. It lies outside of the heap, which the garbage
// collector would let grow to twice its size.
type pages struct {
	mem []byte

	mu    sync.Mutex
	free  []uint32
	fresh uint32 // pages from here on have never been used, and take no memory yet
	lent  int    // of segments that are being stored: they will be given back
	back  chan struct{}
}

// newPages returns room for size bytes. What is not touched takes no memory.
func newPages(size int) (*pages, error) {
	mem, err := unix.Mmap(-1, 0, size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANON)
	if err != nil {
		return nil, fmt.Errorf("getting %d MiB of memory: %w", size>>20, err)
	}
	return &pages{mem: mem, back: make(chan struct{}, 1)}, nil
}

func (p *pages) close() error { return unix.Munmap(p.mem) }

// at is the memory of a page.
func (p *pages) at(page uint32) []byte {
	return p.mem[int(page)*chunk.Grain:][:chunk.Grain:chunk.Grain]
}

// take returns a page that nobody uses. If there is none, wait tells whether
// some are lent, so that it is worth waiting for p.back.
func (p *pages) take() (page uint32, ok, wait bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if n := len(p.free); n > 0 {
		page, p.free = p.free[n-1], p.free[:n-1]
		return page, true, false
	}
	if int(p.fresh) < len(p.mem)/chunk.Grain {
		p.fresh++
		return p.fresh - 1, true, false
	}
	return 0, false, p.lent > 0
}

// lend notes that so many pages are now those of a segment that is being stored.
func (p *pages) lend(n int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.lent += n
}

// drop frees the pages of blocks that have not been lent.
func (p *pages) drop(blocks []block) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, b := range blocks {
		p.free = append(p.free, b.page)
	}
}

// giveBack frees the pages of blocks that had been lent.
func (p *pages) giveBack(blocks []block) {
	p.drop(blocks)
	p.lend(-len(blocks))
	select {
	case p.back <- struct{}{}:
	default: // the one who waits has been woken already
	}
}
