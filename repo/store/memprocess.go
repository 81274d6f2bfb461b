package store

import "errors"

// ErrKilled is what a Process returns once it was killed.
var ErrKilled = errors.New("the process was killed")

// A Process is one of several that use a Mem at a time. Its operations wait at
// its gate, so that a test says which process takes the next step, and it can
// be killed at any of them.
type Process struct {
	m    *Mem
	gate Gate

	// Guarded by the disk's lock.
	open map[*memFile]struct{}
	dead bool
}

// A Gate is called before each operation of a process, also those that only
// look, but for reading from a file that is open. It returns when the operation
// may go on; what it returns is called when the operation has the disk to
// itself, so that whatever looks at the disk after that sees its outcome. It may
// be called by several goroutines at once.
type Gate func(op, object string) (begun func())

// Process starts a process.
func (m *Mem) Process(gate Gate) *Process {
	return &Process{m: m, gate: gate, open: make(map[*memFile]struct{})}
}

// Store opens a store for the process.
func (p *Process) Store() (*Dir, error) { return newDir(&memFS{p.m, p}) }

// Kill ends the process as kill -9 does, or as its own end: its locks are
// released, and what it was about to do, or does later, fails with ErrKilled.
func (p *Process) Kill() {
	p.m.mu.Lock()
	defer p.m.mu.Unlock()
	p.dead = true
	for f := range p.open {
		f.node.unlock(f)
		delete(p.m.nameless, f.node)
	}
	clear(p.open)
}

// begin is called first by every operation: it waits at the process's gate, if
// there is one, and takes the lock, which stays free on an error.
func (m *Mem) begin(p *Process, op string, object any) error {
	if p == nil {
		return m.lock(nil)
	}
	name, ok := object.(string)
	if !ok {
		name = object.(*memNode).String()
	}
	begun := p.gate(op, name)
	err := m.lock(p)
	begun()
	return err
}

// lock takes the lock for a process that lives.
func (m *Mem) lock(p *Process) error {
	m.mu.Lock()
	if p != nil && p.dead {
		m.mu.Unlock()
		return ErrKilled
	}
	return nil
}

// Holds tells whether the process has the lease of that name.
func (p *Process) Holds(lease string) bool {
	p.m.mu.Lock()
	defer p.m.mu.Unlock()
	node, err := p.m.find(leaseFile(lease))
	return err == nil && node.exclusive != nil && node.exclusive.p == p
}
