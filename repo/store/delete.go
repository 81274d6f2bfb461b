package store

import (
	"context"
	"errors"
	"path"
	"strings"
)

// Delete removes an object durably, or says ErrNotFound. A directory two
// levels down (packs/<session>) goes with its last object.
func (d *Dir) Delete(ctx context.Context, name string) error {
	if err := check(ctx, name); err != nil {
		return describe("delete", "object", err)
	}
	if _, err := d.Size(ctx, name); err != nil {
		return err // not a directory, which unlink would call a permission error
	}
	if err := d.remove(name); err != nil {
		return describe("delete", name, err)
	}
	d.handles.drop(name)
	d.leave(name)
	return nil
}

// leave removes the directory of an object that has left it, if it was the last
// and the directory is two levels down.
func (d *Dir) leave(name string) {
	if dir := path.Dir(name); strings.Contains(dir, "/") {
		d.removeIfEmpty(dir)
	}
}

// removeIfEmpty fails silently: an empty directory does no harm. For the same
// reason the removal is not made durable. But what was unlinked in the
// directory must be: another Delete may not have come to sync it, and finds
// it gone.
func (d *Dir) removeIfEmpty(dir string) {
	errEntry := errors.New("not empty")
	if d.fs.readDir(dir, func(string, fileStat) error { return errEntry }) != nil {
		return // spares the lock, for which every Put under way is waited for
	}
	d.shape.Lock()
	defer d.shape.Unlock()
	d.durable.remove(dir)
	if d.fs.syncDir(dir) == nil {
		_ = d.fs.rmdir(dir)
	}
}
