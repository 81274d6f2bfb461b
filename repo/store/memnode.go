package store

import (
	"fmt"
	"maps"
	"slices"
	"time"
)

// memNode is a file or a directory of a Mem, as it is now and as it is on the
// medium.
type memNode struct {
	kind    fileKind
	ino     uint64
	modTime time.Time

	// A file. The slices are never written to.
	data, synced []byte
	lost         bool // a sync failed: synced stays as it is
	exclusive    *memFile
	shared       map[*memFile]bool

	// A directory. pending leads from durable to entries.
	entries, durable map[string]*memNode
	pending          []memChange
}

// memChange is one entry's change that is not synced.
type memChange struct {
	name string
	node *memNode // nil: removed
	lost bool     // a sync failed: it may or may not be on the medium for ever
}

func (n *memNode) String() string { return fmt.Sprintf("#%d", n.ino) }

func (n *memNode) stat() fileStat {
	return fileStat{kind: n.kind, size: int64(len(n.data)), modTime: n.modTime, ino: n.ino}
}

// lateEntries are names that a listing may find although they came after it
// had begun: half of them.
func (n *memNode) lateEntries(listed []string) (late []string) {
	for name, child := range n.entries {
		if child.ino%2 == 1 && !slices.Contains(listed, name) {
			late = append(late, name)
		}
	}
	return late
}

// set changes an entry of a directory.
func (n *memNode) set(name string, child *memNode) {
	setEntry(n.entries, name, child)
	n.pending = append(n.pending, memChange{name: name, node: child})
	n.modTime = time.Now()
}

func setEntry(entries map[string]*memNode, name string, child *memNode) {
	if child == nil {
		delete(entries, name)
	} else {
		entries[name] = child
	}
}

// syncEntries makes the changes durable that no sync has lost. A durable
// change settles the earlier lost ones of its name.
func (n *memNode) syncEntries() {
	var lost []memChange
	for _, c := range n.pending {
		if c.lost {
			lost = append(lost, c)
			continue
		}
		setEntry(n.durable, c.name, c.node)
		lost = without(lost, c.name)
	}
	n.pending = lost
}

func without(changes []memChange, name string) []memChange {
	var kept []memChange
	for _, c := range changes {
		if c.name != name {
			kept = append(kept, c)
		}
	}
	return kept
}

func (n *memNode) syncData() {
	if !n.lost {
		n.synced = n.data
	}
}

// loseSync is a failed sync.
func (n *memNode) loseSync() {
	n.lost = true
	for i := range n.pending {
		n.pending[i].lost = true
	}
}

// lock is flock(2) with LOCK_NB: a new lock replaces that of the same file.
func (n *memNode) lock(f *memFile, exclusive bool) bool {
	others := maps.Clone(n.shared)
	delete(others, f)
	if n.exclusive != nil && n.exclusive != f || exclusive && len(others) > 0 {
		return false
	}
	n.unlock(f)
	if exclusive {
		n.exclusive = f
		return true
	}
	if n.shared == nil {
		n.shared = make(map[*memFile]bool)
	}
	n.shared[f] = true
	return true
}

func (n *memNode) unlock(f *memFile) {
	if n.exclusive == f {
		n.exclusive = nil
	}
	delete(n.shared, f)
}
