package tree

import (
	"context"
	"errors"
	"fmt"
	"strconv"

	"golang.org/x/sys/unix"
	"vaultfs/repo"
)

var errAppeared = errors.New("something of that name is there (one that was made meanwhile, or a name that the file system takes for the same)")

// existing returns what stands under a name in a directory, or nil.
func (r *restorer) existing(d *dir, name string) (*unix.Stat_t, error) {
	var st unix.Stat_t
	err := unix.Fstatat(d.fd, name, &st, unix.AT_SYMLINK_NOFOLLOW)
	if errors.Is(err, unix.ENOENT) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return &st, nil
}

// replaces tells whether what exists gives way to an entry.
func (r *restorer) replaces(st *unix.Stat_t, e *repo.Entry) bool {
	switch r.o.Overwrite {
	case Never:
		return false
	case IfNewer:
		return e.Mtime.Sec > st.Mtim.Sec || (e.Mtime.Sec == st.Mtim.Sec && int64(e.Mtime.Nsec) > st.Mtim.Nsec)
	}
	return true
}

// entry makes one entry that is no directory.
func (r *restorer) entry(ctx context.Context, t task) {
	path, action := t.dir.below(t.name), Create
	if t.dir.existed && t.dir.fd >= 0 {
		st, err := r.existing(t.dir, t.name)
		if err != nil {
			r.fail(path, err)
			return
		}
		if st != nil {
			if !r.replaces(st, t.e) {
				r.kept(path)
				r.o.Progress.Done.Add(t.e.Content.Size)
				return
			}
			action = Replace
			if err := r.clear(ctx, t, st); err != nil {
				r.fail(path, err)
				return
			}
		}
	}
	if r.o.DryRun {
		r.done(action, path, t.e, r.isFurther(t), t.e.Content.Size)
		return
	}
	linked, data, err := r.makeLinked(ctx, t, action)
	switch {
	case err == nil:
	case isDevice(t.e.Type()) && errors.Is(err, unix.EPERM):
		r.lose(DeviceLost, path, errors.New("only root may make devices, and not on every file system"))
		return
	default:
		r.fail(path, err)
		return
	}
	r.o.Progress.Done.Add(t.e.Content.Size - data)
	r.done(action, path, t.e, linked, data)
}

// clear takes a directory out of the way of an entry that is none. Anything
// else is replaced by the renaming itself.
func (r *restorer) clear(ctx context.Context, t task, st *unix.Stat_t) error {
	if st.Mode&unix.S_IFMT != unix.S_IFDIR {
		return nil
	}
	if r.o.Delete && !t.dir.apart {
		if !r.removeAll(ctx, t.dir, t.name) {
			return errors.New("a directory is in its way that could not be removed")
		}
		return nil
	}
	if r.o.DryRun {
		return nil
	}
	err := unix.Unlinkat(t.dir.fd, t.name, unix.AT_REMOVEDIR)
	if errors.Is(err, unix.ENOTEMPTY) || errors.Is(err, unix.EEXIST) {
		return errors.New("a directory that is not empty is in its way: remove it, or give --delete")
	}
	return err
}

// make makes a new file, of any type, under a temporary name and publishes it.
// It returns how many bytes of data were written, and which inode that is.
func (r *restorer) make(ctx context.Context, t task, action Action) (data int64, id made, err error) {
	temp := r.temp + strconv.FormatUint(r.temps.Add(1), 10)
	n, err := create(t.dir.fd, temp, t.e)
	if err != nil {
		return 0, id, err
	}
	defer unix.Close(n.fd)
	defer func() {
		if err != nil {
			_ = unix.Unlinkat(t.dir.fd, temp, 0)
		}
	}()
	if t.e.IsRegular() {
		if data, err = r.fill(ctx, n.fd, t.e); err != nil {
			return data, id, err
		}
	}
	if err := ctx.Err(); err != nil {
		return data, id, err
	}
	if id, err = n.isNew(t.e); err != nil {
		return data, id, err
	}
	r.attributes(ctx, n, t.e, t.dir.below(t.name))
	if !n.path {
		if err := r.sync(n.fd); err != nil {
			return data, id, err
		}
	}
	return data, id, publish(t.dir.fd, temp, t.name, action)
}

// isNew returns which inode a node is, or an error unless it is what was made for
// the entry. Only a regular file is made and opened at once.
func (n node) isNew(e *repo.Entry) (made, error) {
	var st unix.Stat_t
	if err := unix.Fstatat(n.fd, "", &st, unix.AT_EMPTY_PATH); err != nil {
		return made{}, err
	}
	if n.path && (st.Mode&unix.S_IFMT != e.Type() || st.Nlink != 1 || isForeign(n.fd, &st)) {
		return made{}, errSwapped
	}
	return made{st.Dev, st.Ino}, nil
}

// create makes a new file and opens it.
func create(dir int, name string, e *repo.Entry) (n node, err error) {
	n.path = true
	switch e.Type() {
	case unix.S_IFREG:
		err = retry(func() (err error) {
			n.fd, err = unix.Openat(dir, name, unix.O_RDWR|unix.O_CREAT|unix.O_EXCL|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0o600)
			return err
		})
		return node{fd: n.fd}, err
	case unix.S_IFLNK:
		err = unix.Symlinkat(e.Target, dir, name)
	case unix.S_IFIFO, unix.S_IFSOCK, unix.S_IFCHR, unix.S_IFBLK:
		device := unix.Mkdev(uint32(e.Rdev>>32), uint32(e.Rdev))
		err = unix.Mknodat(dir, name, e.Type()|0o600, int(device))
	default:
		err = fmt.Errorf("a file of the unknown type %o", e.Type())
	}
	if err != nil {
		return n, err
	}
	if n.fd, err = unix.Openat(dir, name, unix.O_PATH|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0); err != nil {
		_ = unix.Unlinkat(dir, name, 0)
	}
	return n, err
}

func isDevice(kind uint32) bool { return kind == unix.S_IFCHR || kind == unix.S_IFBLK }

// publish gives a file its name. Unless it is to replace something it refuses
// to, so that on a file system that does not tell "a" from "A" one of the two is
// not lost silently.
func publish(dir int, temp, name string, action Action) error {
	if action == Replace {
		return unix.Renameat(dir, temp, dir, name)
	}
	err := unix.Renameat2(dir, temp, dir, name, unix.RENAME_NOREPLACE)
	if errors.Is(err, unix.EINVAL) || errors.Is(err, unix.ENOSYS) { // the file system cannot
		var st unix.Stat_t
		if unix.Fstatat(dir, name, &st, unix.AT_SYMLINK_NOFOLLOW) == nil {
			return errAppeared
		}
		return unix.Renameat(dir, temp, dir, name)
	}
	if errors.Is(err, unix.EEXIST) {
		return errAppeared
	}
	return err
}

// typeName names a type of file in a sentence.
func typeName(mode uint32) string {
	switch mode & unix.S_IFMT {
	case unix.S_IFREG:
		return "a file"
	case unix.S_IFLNK:
		return "a symbolic link"
	case unix.S_IFDIR:
		return "a directory"
	}
	return "a special file"
}
