package restore

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"vaultfs/repo"
)

// Options says how something is restored.
type Options struct {
	Format   string    // of disks: QCOW2, Raw, or "" to choose by Suggested and the destination's suffix
	Suggest  string    // the format when neither Format nor the destination says one; "" is QCOW2
	Force    bool      // replace files, write over block devices
	Progress *Progress // may be nil
}

// Written is a file or a device that was written.
type Written struct {
	Item   string
	Path   string
	Format string // QCOW2, Raw, or "" of an item that is no disk
	Size   int64  // bytes
	Data   int64  // bytes of Size that are not in holes, about
}

// Item writes one item of a snapshot to dest: a file that is to be made, a
// directory that is there, in which the item has its own name, or a block
// device.
func Item(ctx context.Context, r *repo.Repo, snap *repo.Snapshot, it repo.Item, dest string, o Options) (*Written, error) {
	t, err := aim(it, dest, o)
	if err != nil {
		return nil, err
	}
	release, err := Pin(ctx, r, snap)
	if err != nil {
		return nil, err
	}
	defer release()
	s, err := Open(ctx, r, it, t.format)
	if err != nil {
		return nil, err
	}
	return s.write(ctx, t, o)
}

// write writes the source to where it goes.
func (s *Source) write(ctx context.Context, t target, o Options) (_ *Written, err error) {
	if o.Progress == nil {
		o.Progress = new(Progress)
	}
	o.Progress.Total.Add(s.data)
	if t.device {
		err = writeDevice(ctx, s, t.path, o.Progress)
	} else if err = CheckSpace(filepath.Dir(t.path), s.takes); err == nil {
		err = writeFile(ctx, s, t.path, o.Force, o.Progress)
	}
	if err != nil {
		return nil, err
	}
	return s.written(t.path), nil
}

// Pin keeps the snapshot from being collected until release is called.
func Pin(ctx context.Context, r *repo.Repo, snap *repo.Snapshot) (release func(), err error) {
	p, err := r.Pin(ctx, "restore", snap)
	if err != nil {
		return nil, err
	}
	return func() { _ = p.Release(context.WithoutCancel(ctx)) }, nil // a lease that stays is broken by the next session
}

func (s *Source) written(path string) *Written {
	return &Written{s.item.Name, path, s.format, s.Size(), s.takes}
}

// A target is where an item goes.
type target struct {
	path   string
	format string // "" for an item that is no disk
	device bool
}

// aim finds out what dest is, and refuses early what cannot be written.
func aim(it repo.Item, dest string, o Options) (t target, err error) {
	info, err := os.Stat(dest)
	if err == nil && info.IsDir() {
		t.format = chooseFormat(it, "", o)
		if t.path, err = within(dest, it, t.format); err != nil {
			return t, err
		}
		info, err = os.Stat(t.path)
	} else {
		if strings.HasSuffix(dest, "/") {
			return t, fmt.Errorf("%s is not a directory; create it first", dest)
		}
		t.path, t.format = dest, chooseFormat(it, dest, o)
	}
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return t, nil
	case err != nil:
		return t, fmt.Errorf("restoring %s: %w", t.path, err)
	case isBlockDevice(info):
		t.device = true
		if t.format == Raw || (it.Kind == repo.ItemDisk && o.Format == "") {
			t.format = Raw
		} else {
			return t, fmt.Errorf("%s is a block device: only a disk in the format raw can be restored to it", t.path)
		}
		if !o.Force {
			return t, fmt.Errorf("%s is a block device: what it holds is lost when a disk is restored to it; if that is meant, give --force", t.path)
		}
	case info.IsDir():
		return t, fmt.Errorf("%s is a directory", t.path)
	case !o.Force:
		return t, existsError(t.path)
	case !info.Mode().IsRegular():
		return t, fmt.Errorf("%s is neither a regular file nor a block device", t.path)
	}
	return t, nil
}

func isBlockDevice(info fs.FileInfo) bool {
	return info.Mode()&(fs.ModeDevice|fs.ModeCharDevice) == fs.ModeDevice
}

// chooseFormat is the format of an item that goes to a file of that name.
func chooseFormat(it repo.Item, file string, o Options) string {
	if it.Kind != repo.ItemDisk {
		return ""
	}
	if o.Format != "" {
		return o.Format
	}
	switch strings.ToLower(filepath.Ext(file)) {
	case ".qcow2":
		return QCOW2
	case ".raw", ".img":
		return Raw
	}
	if o.Suggest != "" {
		return o.Suggest
	}
	return QCOW2
}

// within is the path of an item in a directory. A name that would lead out of
// it, which a backup of hostile files may hold, is refused.
func within(dir string, it repo.Item, format string) (string, error) {
	name := it.Name
	if format != "" {
		name += "." + format
	}
	if !filepath.IsLocal(name) || filepath.Clean(name) != name || strings.ContainsRune(name, 0) {
		return "", fmt.Errorf("the item %q has a name that is no file name: restore it by itself to a name of your choice", it.Name)
	}
	return filepath.Join(dir, name), nil
}
