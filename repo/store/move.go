package store

import (
	"context"
	"errors"
	"path"

	"golang.org/x/sys/unix"
)

// Move gives an object another name, durably. ErrNotFound if there is none, and
// ErrExists if the new name is taken. At no moment is the object under neither
// name: after a crash it may be under both, and Move, called again, goes on
// from there. Where files cannot have two names (FAT, some of FUSE and SMB) it
// is one rename.
func (d *Dir) Move(ctx context.Context, from, to string) error {
	for _, name := range []string{from, to} {
		if err := check(ctx, name); err != nil {
			return describe("move", "object", err)
		}
	}
	err := d.moveObject(from, to)
	d.handles.drop(from)
	if err == nil {
		d.leave(from)
	}
	return describe("move", from, err)
}

func (d *Dir) moveObject(from, to string) error {
	f, err := d.fs.open(from, false)
	if err != nil {
		return err
	}
	defer f.Close()
	err = d.enter(to, func() error { return d.fs.link(f, to) })
	switch {
	case err == nil:
		return d.remove(from)
	case errors.Is(err, unix.EEXIST):
		return d.moveOn(f, from, to)
	case unsupported(err), errors.Is(err, unix.EPERM), errors.Is(err, unix.EMLINK):
		return d.moveByRename(from, to)
	}
	return err
}

// moveOn ends a move that a crash has interrupted: the file has both names
// then. Whether the new one is on the medium is not known.
func (d *Dir) moveOn(f file, from, to string) error {
	both, err := d.isNamed(f, to)
	if err != nil {
		return err
	}
	if !both {
		return unix.EEXIST
	}
	if err := d.enter(to, func() error { return nil }); err != nil {
		return err
	}
	return d.remove(from)
}

// moveByRename makes the new name durable before the old one's removal.
func (d *Dir) moveByRename(from, to string) error {
	d.shape.RLock()
	defer d.shape.RUnlock()
	dir := path.Dir(to)
	if err := d.inDir(dir, func() error { return d.renameThere(from, to) }); err != nil {
		return err
	}
	if err := d.syncUp(dir); err != nil {
		return err
	}
	err := d.fs.syncDir(path.Dir(from))
	if errors.Is(err, unix.ENOENT) {
		return nil // who removed the directory had synced it empty
	}
	return err
}

// renameThere is move, but tells an object that is gone, for which no directory
// is to be made, from a directory that is missing.
func (d *Dir) renameThere(from, to string) error {
	err := d.move(from, to)
	if !errors.Is(err, unix.ENOENT) {
		return err
	}
	if _, gone := d.fs.stat(from); gone != nil {
		return ErrNotFound // bare: it is no reason to make a directory
	}
	return err
}
