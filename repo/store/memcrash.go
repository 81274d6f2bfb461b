package store

import (
	"bytes"
	"maps"
	"math/rand/v2"
	"slices"
)

// Crash returns a disk as it may be after the power failed now: of what was
// not synced, each directory entry's change is kept or lost on its own, and a
// file's content is the old, the new, or torn. The locks are gone. m itself
// stays as it is, so that many outcomes can be had of one crash.
func (m *Mem) Crash(rng *rand.Rand) *Mem {
	return m.copy(func(n *memNode) (data []byte, entries map[string]*memNode) {
		return tear(rng, n.synced, n.data), keepSome(rng, n)
	})
}

// Kill returns the disk as it is after every process on it was killed:
// everything done is seen, synced or not, but the locks are gone. What was
// not synced can still be lost by a later Crash.
func (m *Mem) Kill() *Mem {
	return m.copy(nil)
}

// copy copies the disk. With a survive function, what that returns of a node
// is all there is of it, and durable.
func (m *Mem) copy(survive func(*memNode) ([]byte, map[string]*memNode)) *Mem {
	m.mu.Lock()
	defer m.mu.Unlock()
	c := copier{survive: survive, done: make(map[*memNode]*memNode)}
	return &Mem{root: c.node(m.root), lastIno: m.lastIno, fail: make(map[int]error), limit: m.limit, nameless: make(map[*memNode]struct{})}
}

// copier copies each node once, however many names it has.
type copier struct {
	survive func(*memNode) ([]byte, map[string]*memNode)
	done    map[*memNode]*memNode
}

func (c *copier) node(n *memNode) *memNode {
	if n == nil {
		return nil
	}
	if dup := c.done[n]; dup != nil {
		return dup
	}
	dup := &memNode{kind: n.kind, ino: n.ino, modTime: n.modTime}
	c.done[n] = dup
	if c.survive != nil {
		data, entries := c.survive(n)
		dup.data, dup.synced = data, data
		dup.entries = c.entries(entries)
		dup.durable = maps.Clone(dup.entries)
		return dup
	}
	dup.data, dup.synced, dup.lost = n.data, n.synced, n.lost
	dup.entries, dup.durable = c.entries(n.entries), c.entries(n.durable)
	for _, change := range n.pending {
		change.node = c.node(change.node)
		dup.pending = append(dup.pending, change)
	}
	return dup
}

// entries goes by name, so that a seed always gives the same outcome.
func (c *copier) entries(entries map[string]*memNode) map[string]*memNode {
	if entries == nil {
		return nil
	}
	dup := make(map[string]*memNode, len(entries))
	for _, name := range slices.Sorted(maps.Keys(entries)) {
		dup[name] = c.node(entries[name])
	}
	return dup
}

func keepSome(rng *rand.Rand, n *memNode) map[string]*memNode {
	entries := maps.Clone(n.durable)
	for _, change := range n.pending {
		if rng.IntN(2) == 0 {
			setEntry(entries, change.name, change.node)
		}
	}
	return entries
}

// tear returns what may be on the medium of a file that was synced as old and
// then rewritten as data.
func tear(rng *rand.Rand, old, data []byte) []byte {
	if bytes.Equal(old, data) {
		return data
	}
	cut := 0
	if len(data) > 0 {
		cut = rng.IntN(len(data) + 1)
	}
	switch rng.IntN(4) {
	case 0:
		return old
	case 1: // the length was written, some of the bytes were not
		return append(bytes.Clone(data[:cut]), make([]byte, len(data)-cut)...)
	case 2: // some new bytes over the old ones
		return append(bytes.Clone(data[:cut]), old[min(cut, len(old)):]...)
	default:
		return data[:cut]
	}
}
