package store

import (
	"errors"
	"fmt"
	"sync"
	"time"
)

// ErrCrashed is what a Mem returns once it has crashed.
var ErrCrashed = errors.New("the disk has crashed")

// Mem is a disk in memory that promises what POSIX does and no more. What was
// written to a file may be lost until the file is fsynced, and what was done
// to a directory (mkdir, link, rename, unlink, rmdir) until that directory is;
// a rename across directories is two such things. Any number of stores may be
// opened over it, as if by several processes.
//
// Operations that matter to durability are counted: mkdir, rmdir, create
// (named only), write, truncate, sync, link, rename, unlink, syncdir.
type Mem struct {
	mu      sync.Mutex
	root    *memNode
	lastIno uint64

	ops     []string
	crashAt int
	crashed bool
	fail    map[int]error
	limit   int64 // see Limit

	nameless map[*memNode]struct{} // open files that have no name yet
}

// NewMem returns an empty disk.
func NewMem() *Mem {
	m := &Mem{fail: make(map[int]error), nameless: make(map[*memNode]struct{})}
	m.root = m.newNode(kindDir)
	return m
}

// Store opens a store over the disk.
func (m *Mem) Store() (*Dir, error) { return newDir(&memFS{m: m}) }

// Ops returns how many operations there were.
func (m *Mem) Ops() int { return len(m.Trace()) }

// Trace returns the operations, such as "syncdir packs" or "write #7" for a
// file by its inode number.
func (m *Mem) Trace() []string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.ops[:len(m.ops):len(m.ops)]
}

// CrashAt makes operation n, counted from 1, and everything after it fail
// with ErrCrashed.
func (m *Mem) CrashAt(n int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.crashAt = n
}

// FailOp makes operation n, counted from 1, fail with err. After a failed
// sync what was to be synced never is, though the next sync succeeds, as it is
// on Linux. A failed write has written half.
func (m *Mem) FailOp(n int, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.fail[n] = err
}

// Limit makes the disk one of so many bytes, of which the content of files takes
// up as many as there are: writing to a full one fails with ENOSPC.
func (m *Mem) Limit(bytes int64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.limit = bytes
}

// free returns the bytes that are free, and all. The lock is held.
func (m *Mem) free() (free, total int64) {
	if m.limit == 0 {
		return 1 << 40, 1 << 40
	}
	used := usedBy(m.root)
	for n := range m.nameless {
		used += usedBy(n)
	}
	return max(0, m.limit-used), m.limit
}

// usedBy is the size of all files below a directory.
func usedBy(n *memNode) int64 {
	used := int64(len(n.data))
	for _, child := range n.entries {
		used += usedBy(child)
	}
	return used
}

// step is called first by every operation, with the lock held.
func (m *Mem) step(op string, object any) error {
	if m.crashed {
		return ErrCrashed
	}
	m.ops = append(m.ops, fmt.Sprintf("%s %v", op, object))
	n := len(m.ops)
	if n == m.crashAt {
		m.crashed = true
		return ErrCrashed
	}
	return m.fail[n]
}

func (m *Mem) newNode(kind fileKind) *memNode {
	m.lastIno++
	n := &memNode{kind: kind, ino: m.lastIno, modTime: time.Now()}
	if kind == kindDir {
		n.entries = make(map[string]*memNode)
		n.durable = make(map[string]*memNode)
	}
	return n
}
