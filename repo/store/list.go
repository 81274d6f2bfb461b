package store

import (
	"context"
	"errors"
	"fmt"
	"path"

	"golang.org/x/sys/unix"
)

// List calls fn for every object below the directory prefix ("packs",
// "runs/abc", "" for all), in any order. An absent prefix has none. Objects
// that come or go meanwhile may or may not be listed; every other is, once.
// fn may delete objects. An error of fn ends the listing and is returned.
// Files whose names no object can have are passed over; anything else that is
// neither file nor directory is an error, as it would hide objects.
func (d *Dir) List(ctx context.Context, prefix string, fn func(Info) error) error {
	dir := "."
	if prefix != "" {
		dir = prefix
		if err := checkObject(prefix); err != nil {
			return describe("list", "objects", err)
		}
	}
	return d.list(ctx, dir, fn)
}

func (d *Dir) list(ctx context.Context, dir string, fn func(Info) error) error {
	var stop error // fn's, returned as it is
	err := d.fs.readDir(dir, func(base string, st fileStat) error {
		if stop = ctx.Err(); stop != nil {
			return stop
		}
		name := path.Join(dir, base)
		if checkObject(name) != nil {
			return nil
		}
		switch st.kind {
		case kindFile:
			stop = fn(Info{Name: name, Size: st.size, ModTime: st.modTime})
		case kindDir:
			stop = d.list(ctx, name, fn)
		default:
			return fmt.Errorf("%s: %w", name, errNotRegular)
		}
		return stop
	})
	if stop != nil {
		return stop
	}
	if errors.Is(err, unix.ENOENT) {
		return nil
	}
	return describe("list", dir, err)
}
