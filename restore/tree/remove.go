package tree

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"golang.org/x/sys/unix"
	"vaultfs/repo"
)

// removeSurplus removes from a directory what the stored one does not hold.
// What cannot be looked up, because of damage, stays.
func (r *restorer) removeSurplus(ctx context.Context, d *dir) {
	err := eachName(d.fd, func(name string) error {
		if err := ctx.Err(); err != nil {
			return err
		}
		if d.parent == nil && name == lostAndFound {
			return nil
		}
		_, err := r.tree.Lookup(ctx, d.entry, name)
		switch {
		case err == nil:
		case errors.Is(err, repo.ErrNotFound):
			r.removeAll(ctx, d, name)
		default:
			r.lose(NotRemoved, d.below(name), err)
		}
		return nil
	})
	if err != nil && ctx.Err() == nil {
		r.lose(NotRemoved, d.path, err)
	}
}

// isEmpty tells whether a directory holds nothing.
func isEmpty(fd int) (empty bool, err error) {
	empty = true
	err = eachName(fd, func(string) error {
		empty = false
		return io.EOF
	})
	if err == io.EOF {
		err = nil
	}
	return empty, err
}

// eachName calls do with the names in a directory. What do removes does not
// disturb the listing: POSIX has readdir(3) give every name that stays.
func eachName(fd int, do func(name string) error) error {
	again, err := unix.Openat(fd, ".", openDir, 0)
	if err != nil {
		return err
	}
	f := os.NewFile(uintptr(again), "directory")
	defer f.Close()
	for {
		names, err := f.Readdirnames(1024)
		for _, name := range names {
			if err := do(name); err != nil {
				return err
			}
		}
		if err == io.EOF || (err == nil && len(names) == 0) {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// removeAll removes a file, or a directory with all that is in it. It tells
// whether nothing is left.
func (r *restorer) removeAll(ctx context.Context, d *dir, name string) bool {
	path := d.below(name)
	var st unix.Stat_t
	err := unix.Fstatat(d.fd, name, &st, unix.AT_SYMLINK_NOFOLLOW)
	flags := 0
	if err == nil && st.Mode&unix.S_IFMT == unix.S_IFDIR {
		flags = unix.AT_REMOVEDIR
		path += "/"
		var emptied bool
		if emptied, err = r.empty(ctx, d, name); err == nil && !emptied {
			return false // what is left has been told
		}
	}
	if err == nil && !r.o.DryRun {
		err = unix.Unlinkat(d.fd, name, flags)
	}
	if errors.Is(err, unix.ENOENT) {
		return true
	}
	if err != nil {
		if ctx.Err() == nil {
			r.lose(NotRemoved, path, err)
		}
		return false
	}
	r.removed(path)
	return true
}

// maxDepth is how deep is removed what the snapshot does not hold. It bounds the
// memory and the descriptors that somebody can make this take who nests directories
// without end; a path of half as many names is too long for any system call.
const maxDepth = 4096

var errMounted = errors.New("another file system is mounted there, which is left alone")

// empty removes what is in a directory.
func (r *restorer) empty(ctx context.Context, d *dir, name string) (emptied bool, err error) {
	fd, err := unix.Openat(d.fd, name, openDir|unix.O_NOFOLLOW, 0)
	if err != nil {
		return false, err
	}
	defer unix.Close(fd)
	if mounted, err := isMount(d.fd, fd); err != nil {
		return false, err
	} else if mounted {
		return false, errMounted
	}
	sub, emptied := &dir{fd: fd, path: d.below(name), depth: d.depth + 1}, true
	if sub.depth > maxDepth {
		return false, fmt.Errorf("it lies in %d directories, one in the other: remove it by hand", maxDepth)
	}
	err = eachName(fd, func(name string) error {
		if err := ctx.Err(); err != nil {
			return err
		}
		emptied = r.removeAll(ctx, sub, name) && emptied
		return nil
	})
	return emptied, err
}

// isMount tells whether a directory belongs to another mount than the one above
// it, also if that is of the same file system.
func isMount(above, fd int) (bool, error) {
	var a, b unix.Statx_t
	if err := unix.Statx(above, "", unix.AT_EMPTY_PATH, unix.STATX_BASIC_STATS, &a); err != nil {
		return false, err
	}
	if err := unix.Statx(fd, "", unix.AT_EMPTY_PATH, unix.STATX_BASIC_STATS, &b); err != nil {
		return false, err
	}
	return a.Dev_major != b.Dev_major || a.Dev_minor != b.Dev_minor || b.Attributes&unix.STATX_ATTR_MOUNT_ROOT != 0, nil
}
