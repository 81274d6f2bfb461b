package store

import (
	"context"
	"errors"
	"fmt"
	"path"
	"sync"

	"golang.org/x/sys/unix"
)

// MaxLease bounds the content of a lease, in bytes.
const MaxLease = 64 << 10

// Lease is the right to commit one object, held until it is committed,
// released or broken, its process ends, or its store is no longer referred to.
type Lease struct {
	dir  *Dir
	name string // of the lease; its file is sessions/<name>

	mu sync.Mutex
	f  *temp // nil once the lease has ended
}

func leaseFile(name string) string { return path.Join(sessionsDir, name) }

// OpenLease opens a lease with at most MaxLease bytes of content. It is
// durable, and never seen by others without its lock. ErrExists if there is
// one of that name.
func (d *Dir) OpenLease(ctx context.Context, name string, content []byte) (*Lease, error) {
	if err := checkElement(name); err != nil {
		return nil, describe("open", "lease", err)
	}
	if len(content) > MaxLease {
		return nil, fmt.Errorf("open lease %s: content of %d bytes is %w: %d", name, len(content), ErrTooLarge, MaxLease)
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	f, err := d.openLease(leaseFile(name), content)
	if err != nil {
		return nil, describe("open lease", name, err)
	}
	l := &Lease{dir: d, name: name, f: f}
	d.leases.Store(l, nil)
	return l, nil
}

func (d *Dir) openLease(name string, content []byte) (*temp, error) {
	t, err := d.newTemp(sessionsDir)
	if err != nil {
		return nil, err
	}
	if err = lock(t); err == nil {
		err = fill(t.file, content)
	}
	if err == nil {
		err = d.enter(name, func() error { return d.show(t, name) })
	}
	if err != nil {
		d.discard(t)
		return nil, err
	}
	return t, nil
}

// show gives a lease's file its name. It must stay the file that is locked,
// for which one that already has a name is renamed, not linked: libfuse can
// make two inodes of two names.
func (d *Dir) show(t *temp, name string) error {
	if t.name == "" {
		return d.fs.link(t.file, name)
	}
	err := d.move(t.name, name)
	if err == nil {
		t.name = ""
	}
	return err
}

func lock(t *temp) error {
	locked, err := t.tryLock(true)
	if err == nil && !locked {
		err = errors.New("a new file is locked by somebody else")
	}
	return err
}

// isNamed reports whether name is a name of the open file f.
func (d *Dir) isNamed(f file, name string) (bool, error) {
	own, err := f.stat()
	if err != nil {
		return false, err
	}
	st, err := d.fs.stat(name)
	if errors.Is(err, unix.ENOENT) {
		return false, nil
	}
	return err == nil && st.same(own), err
}

// Held returns nil, or ErrBroken, or ErrEnded.
func (l *Lease) Held(ctx context.Context) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return describe("check lease", l.name, l.held(ctx))
}

func (l *Lease) held(ctx context.Context) error {
	if l.f == nil {
		return ErrEnded
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	named, err := l.dir.isNamed(l.f.file, leaseFile(l.name))
	if err == nil && !named {
		return ErrBroken
	}
	return err
}

// Release gives the lease up. It does nothing to one that has ended, and a
// broken one only ends.
func (l *Lease) Release(ctx context.Context) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.f == nil {
		return nil
	}
	err := l.held(ctx)
	if err == nil {
		err = l.dir.remove(leaseFile(l.name))
	}
	l.end()
	if errors.Is(err, ErrBroken) || errors.Is(err, unix.ENOENT) {
		return nil
	}
	return describe("release lease", l.name, err)
}

func (l *Lease) end() {
	l.f.Close()
	l.f = nil
	l.dir.leases.Delete(l)
}
