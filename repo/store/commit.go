package store

import (
	"context"
	"errors"

	"golang.org/x/sys/unix"
)

// Commit turns the lease into the object final, which holds content. That is
// one atomic step: it fails with ErrBroken if the lease was broken before it,
// with ErrExists if final is taken, and nobody can break the lease after it.
//
// The lease has ended when Commit returns, whatever it returns. On an error
// neither final nor the lease is there, unless the medium failed so badly
// that they could not be taken back.
func (l *Lease) Commit(ctx context.Context, content []byte, final string) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.f == nil {
		return describe("commit lease", l.name, ErrEnded)
	}
	defer l.end()
	err := check(ctx, final)
	if err == nil {
		err = l.commit(ctx, content, final)
	}
	if err != nil {
		l.takeBack(final)
	}
	return describe("commit lease", l.name, err)
}

func (l *Lease) commit(ctx context.Context, content []byte, final string) error {
	if err := l.held(ctx); err != nil {
		return err
	}
	if err := l.dir.checkFree(final); err != nil {
		return err
	}
	if err := l.f.truncate(); err != nil {
		return err
	}
	if err := fill(l.f.file, content); err != nil {
		return err
	}
	// final is durable before the lease is gone.
	if err := l.dir.enter(final, func() error { return l.rename(ctx, final) }); err != nil {
		return err
	}
	return l.dir.fs.syncDir(sessionsDir)
}

// rename is the commit point.
func (l *Lease) rename(ctx context.Context, final string) error {
	err := l.dir.move(leaseFile(l.name), final)
	if errors.Is(err, unix.ENOENT) { // the lease, or final's directory
		if held := l.held(ctx); held != nil {
			return held
		}
	}
	return err
}

// move renames a file to a name that must be free. Some file systems (NFS,
// many in FUSE) cannot rename without replacing. What must be atomic is that
// a lease that was broken is not moved, and plain rename(2) is that too,
// whereas link and unlink would let it be broken between the two. So there
// only the look whether newName is free comes a moment before.
func (d *Dir) move(oldName, newName string) error {
	err := d.fs.rename(oldName, newName, false)
	if !unsupported(err) {
		return err
	}
	if err := d.checkFree(newName); err != nil {
		return err
	}
	return d.fs.rename(oldName, newName, true)
}

func (d *Dir) checkFree(name string) error {
	_, err := d.fs.stat(name)
	if err == nil {
		return unix.EEXIST
	}
	if errors.Is(err, unix.ENOENT) {
		return nil
	}
	return err
}

// takeBack removes the lease's file under either name after a failed commit.
func (l *Lease) takeBack(final string) {
	for _, name := range []string{leaseFile(l.name), final} {
		if name == final && checkObject(final) != nil {
			continue
		}
		if named, err := l.dir.isNamed(l.f.file, name); err == nil && named {
			_ = l.dir.remove(name)
		}
	}
}
