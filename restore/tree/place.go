package tree

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
	"vaultfs/repo"
	"vaultfs/restore"
)

// A place is where an entry goes: for a directory itself, else the directory it
// is to stand in and its name there.
type place struct {
	dir  *dir
	name string
}

// open finds the place and refuses early what cannot be done.
func (r *restorer) open(ctx context.Context, from *repo.Entry, dest string) (*place, error) {
	if dest == "" {
		return nil, fmt.Errorf("%w: the destination is empty", ErrUsage)
	}
	if from.IsDir() {
		d, err := r.openRoot(ctx, from, dest)
		if err != nil {
			return nil, err
		}
		return &place{dir: d}, nil
	}
	return r.openParent(ctx, from, dest)
}

// openParent opens the directory that a single entry goes to.
func (r *restorer) openParent(ctx context.Context, from *repo.Entry, dest string) (*place, error) {
	parent, name := filepath.Dir(filepath.Clean(dest)), filepath.Base(dest)
	info, err := os.Stat(dest)
	switch {
	case err == nil && info.IsDir():
		parent, name = filepath.Clean(dest), from.Name
	case strings.HasSuffix(dest, "/"):
		return nil, fmt.Errorf("%s is not a directory; create it first", dest)
	case err == nil && !info.Mode().IsRegular() && info.Mode().Type() != from.FileMode().Type():
		return nil, fmt.Errorf("%s is a device, a pipe or a socket, which is not replaced: choose another name; with --to - a file goes to standard output", dest)
	}
	d := &dir{path: parent, existed: true}
	d.pending.Store(1)
	if d.fd, err = unix.Open(parent, openDir, 0); err != nil {
		return nil, directoryError(parent, err)
	}
	st, err := r.existing(d, name)
	if err == nil && st != nil && r.o.Overwrite == Refuse {
		err = fmt.Errorf("%s exists: choose another name, or replace it with --overwrite always", d.below(name))
	}
	if err == nil && r.o.Overwrite == Refuse {
		err = r.checkSpace(ctx, from, parent)
	}
	if err == nil {
		r.root, err = duplicate(d.fd)
	}
	if err != nil {
		unix.Close(d.fd)
		return nil, err
	}
	return &place{d, name}, nil
}

// openRoot opens or makes the directory that another one is restored to.
func (r *restorer) openRoot(ctx context.Context, from *repo.Entry, dest string) (_ *dir, err error) {
	dest = filepath.Clean(dest)
	d := &dir{entry: from, path: dest, fd: -1}
	d.pending.Store(1)
	flags := openDir
	if r.o.NoFollow {
		flags |= unix.O_NOFOLLOW
	}
	d.fd, err = unix.Open(dest, flags, 0)
	switch {
	case errors.Is(err, unix.ENOENT):
		d.fd = -1
		return d, r.makeRoot(ctx, d)
	case errors.Is(err, unix.ENOTDIR) && r.o.NoFollow && isLink(dest):
		return nil, fmt.Errorf("%s is a symbolic link where a directory belongs: remove it, or choose another place", dest)
	case errors.Is(err, unix.ENOTDIR) && exists(dest):
		return nil, fmt.Errorf("%s exists and is no directory: %s is one and is restored to a directory", dest, nameOf(from))
	case err != nil:
		return nil, directoryError(dest, err)
	}
	defer func() {
		if err != nil {
			unix.Close(d.fd)
		}
	}()
	empty, lostFound, err := emptiness(dest)
	switch {
	case err != nil:
		return nil, directoryError(dest, err)
	case empty || (lostFound && r.o.Overwrite == Refuse):
		err = r.checkSpace(ctx, from, dest)
	case r.o.Overwrite == Refuse:
		err = fmt.Errorf("the directory %s is not empty: choose another one, or say with --overwrite never, if-newer or always what becomes of the files that it holds", dest)
	}
	if err != nil {
		return nil, err
	}
	d.existed = true
	if err := r.own(d); err != nil {
		return nil, directoryError(dest, err)
	}
	d.existed, d.keep = !empty, d.keep && !empty
	r.root, err = duplicate(d.fd)
	return d, err
}

// duplicate makes another descriptor of the same open file.
func duplicate(fd int) (int, error) { return unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 0) }

func exists(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}

func isLink(path string) bool {
	info, err := os.Lstat(path)
	return err == nil && info.Mode().Type() == os.ModeSymlink
}

// makeRoot makes the destination.
func (r *restorer) makeRoot(ctx context.Context, d *dir) error {
	above := filepath.Dir(d.path)
	parent, err := unix.Open(above, openDir, 0)
	if err != nil {
		return directoryError(above, err)
	}
	defer unix.Close(parent)
	if err := r.checkSpace(ctx, d.entry, above); err != nil || r.o.DryRun {
		return err
	}
	name := filepath.Base(d.path)
	if err := unix.Mkdirat(parent, name, 0o700); err != nil {
		return fmt.Errorf("making the directory %s: %w", d.path, err)
	}
	if err := r.openDir(parent, name, d); err != nil {
		return fmt.Errorf("the directory %s: %w", d.path, err)
	}
	if r.root, err = duplicate(d.fd); err != nil {
		return err
	}
	return r.sync(parent)
}

// emptiness tells whether a directory holds nothing, and whether it holds
// nothing but the lost+found of a new file system.
func emptiness(path string) (empty, lostFound bool, err error) {
	f, err := os.Open(path)
	if err != nil {
		return false, false, err
	}
	defer f.Close()
	names, err := f.Readdirnames(2)
	if err != nil && err != io.EOF {
		return false, false, err
	}
	return len(names) == 0, len(names) == 1 && names[0] == lostAndFound, nil
}

const lostAndFound = "lost+found"

// checkSpace refuses to begin what a file system cannot hold. The sizes of all
// files together are known at once; only if they do not fit is it worth looking
// at every file for holes and further names.
func (r *restorer) checkSpace(ctx context.Context, from *repo.Entry, dir string) error {
	if r.o.DryRun {
		return nil
	}
	all := from.Content.Size
	if from.IsDir() {
		all = int64(from.Below.Bytes)
	}
	err := restore.CheckSpace(dir, all)
	var space *restore.SpaceError
	if !errors.As(err, &space) {
		return err
	}
	need, err := r.need(ctx, from, map[inode]bool{})
	if err != nil {
		return err
	}
	return restore.CheckSpace(dir, need)
}

// need is how many bytes of data an entry and all below it hold, as far as that
// can be found out: what is damaged is not there to be restored either.
func (r *restorer) need(ctx context.Context, e *repo.Entry, seen map[inode]bool) (need int64, err error) {
	if e.IsRegular() {
		if id, linked := inodeOf(e); linked {
			if seen[id] {
				return 0, nil
			}
			seen[id] = true
		}
		if e.Content.Ranges.IsZero() {
			return e.Content.Size, nil
		}
		return min(e.Content.Size, int64(e.Blocks)*512), nil
	}
	if !e.IsDir() {
		return 0, nil
	}
	for sub, err := range r.tree.Entries(ctx, e, "") {
		if errors.Is(err, repo.ErrDamaged) {
			break
		} else if err != nil {
			return 0, err
		}
		n, err := r.need(ctx, sub, seen)
		if err != nil {
			return 0, err
		}
		need += n
	}
	return need, nil
}

func directoryError(dir string, err error) error {
	if errors.Is(err, unix.ENOENT) {
		return fmt.Errorf("the directory %s does not exist; create it first", dir)
	}
	return fmt.Errorf("directory %s: %w", dir, err)
}

// nameOf is how an entry is called in an error.
func nameOf(e *repo.Entry) string {
	if e.Name == "" {
		return "the tree"
	}
	return fmt.Sprintf("%q", e.Name)
}
