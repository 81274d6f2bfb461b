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

// rename is the commit point. Some file systems (NFS, many in FUSE) cannot
// rename without replacing. What must be atomic is that a broken lease is not
// committed, and plain rename(2) is that too, whereas link and unlink would
// let a lease be broken between the two. So there only the look whether final
// is free comes a moment before.
func (l *Lease) rename(ctx context.Context, final string) error {
	lease := leaseFile(l.name)
	err := l.dir.fs.rename(lease, final, false)
	if unsupported(err) {
		if err := l.dir.checkFree(final); err != nil {
			return err
		}
		err = l.dir.fs.rename(lease, final, true)
	}
	if errors.Is(err, unix.ENOENT) { // the lease, or final's directory
		if held := l.held(ctx); held != nil {
			return held
		}
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
