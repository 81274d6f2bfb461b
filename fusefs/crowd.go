package fusefs

import (
	"sync"
	"sync/atomic"
)

const (
	// maxCrowd is how many files of trees the kernel may remember before it is
	// told to forget the longest known. Each is some hundred bytes here, and a
	// kernel that is not short of memory would forget none by itself.
	maxCrowd = 100_000
	// maxTold entries of one directory are listed with attributes. Who lists more
	// has hardly a use for those of the first when it comes to the last.
	maxTold = maxCrowd / 4
)

// crowd bounds how many files of trees the kernel remembers, but for those of
// answers that are under way. Directories stay: they are few, and one that is
// forgotten while a process is in it has no path. An open file that is forgotten
// can be read on; only /proc calls it deleted.
type crowd struct {
	limit int64
	known atomic.Int64 // files that were shown; the kernel may have forgotten some

	mu       sync.Mutex
	dirs     []*treeDir // that have shown files, the longest ago first
	thinning bool
	work     *sync.WaitGroup
}

// shown is told of each file of a directory that the kernel gets to know.
func (c *crowd) shown(dir *treeDir) {
	first := dir.shown.Add(1) == 1
	if known := c.known.Add(1); !first && known <= c.limit {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if first {
		c.dirs = append(c.dirs, dir)
	}
	if c.known.Load() > c.limit && !c.thinning {
		c.thinning = true
		c.work.Go(c.thin) // the kernel may be waiting for the answer that is being made
	}
}

// thin has the kernel forget files until a tenth of the places is free.
func (c *crowd) thin() {
	for {
		c.mu.Lock()
		if len(c.dirs) == 0 || c.known.Load() <= c.limit*9/10 {
			c.thinning = false
			c.mu.Unlock()
			return
		}
		dir := c.dirs[0]
		c.dirs = c.dirs[1:]
		c.known.Add(-dir.shown.Swap(0))
		c.mu.Unlock()
		for name, child := range dir.Children() {
			if !child.IsDir() {
				dir.NotifyEntry(name) // whether it knew it or not
			}
		}
	}
}
