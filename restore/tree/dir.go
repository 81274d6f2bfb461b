package tree

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"

	"golang.org/x/sys/unix"
	"vaultfs/repo"
)

// A dir is a directory that is being restored. It is open until everything in
// it is done, which pending counts, itself included.
type dir struct {
	parent  *dir
	entry   *repo.Entry // nil: it is only where a file goes
	fd      int         // -1 if it is to be made in a dry run
	path    string      // for people
	rel     string      // from the root of what is restored; for links
	existed bool        // it may hold something
	mode    uint32      // it is to have again, if its attributes are kept
	keep    bool        // its attributes
	depth   int         // below what is removed
	apart   bool        // of a file system that is mounted below the destination
	pending atomic.Int32
}

// below is the path of a name in the directory.
func (d *dir) below(name string) string {
	if d.path == "/" {
		return "/" + name
	}
	return d.path + "/" + name
}

const openDir = unix.O_RDONLY | unix.O_DIRECTORY | unix.O_CLOEXEC

// enter makes a directory, or takes the one that is there.
func (r *restorer) enter(d *dir, e *repo.Entry) (*dir, error) {
	sub := &dir{parent: d, entry: e, fd: -1, path: d.below(e.Name), rel: d.rel + e.Name + "/"}
	sub.pending.Store(1)
	action := Create
	if d.existed && d.fd >= 0 {
		st, err := r.existing(d, e.Name)
		switch {
		case err != nil:
			return nil, err
		case st != nil && st.Mode&unix.S_IFMT == unix.S_IFDIR:
			sub.existed = true
		case st != nil:
			if !r.replaces(st, e) {
				return nil, fmt.Errorf("%s is in its way and was kept", typeName(st.Mode))
			}
			action = Replace
		}
	}
	if err := r.makeDir(d, sub, action); err != nil {
		return nil, err
	}
	d.pending.Add(1)
	if !sub.existed {
		r.done(action, sub.path+"/", e, false, 0)
	}
	return sub, nil
}

// makeDir makes and opens a directory. A new one is for its owner alone until
// it is done.
func (r *restorer) makeDir(d, sub *dir, action Action) error {
	if r.o.DryRun && !sub.existed {
		return nil
	}
	name := sub.entry.Name
	if action == Replace {
		if err := unix.Unlinkat(d.fd, name, 0); err != nil {
			return fmt.Errorf("removing what is in its way: %w", err)
		}
	}
	if !sub.existed {
		if err := unix.Mkdirat(d.fd, name, 0o700); errors.Is(err, unix.EEXIST) {
			return errAppeared
		} else if err != nil {
			return err
		}
	}
	return r.openDir(d.fd, name, sub)
}

// openDir opens the directory of that name in another one.
func (r *restorer) openDir(parent int, name string, d *dir) error {
	err := retry(func() (err error) {
		d.fd, err = unix.Openat(parent, name, openDir|unix.O_NOFOLLOW, 0)
		return err
	})
	if errors.Is(err, unix.EMFILE) {
		return fmt.Errorf("%w: the tree is too deep for the limit on open files (ulimit -n)", err)
	} else if err != nil {
		d.fd = -1
		return err
	}
	if err = r.own(d); err != nil {
		unix.Close(d.fd)
		d.fd = -1
	}
	return err
}

// own sees to it that we may write in a directory, and that one that was just
// made is not one that somebody has put in its place.
func (r *restorer) own(d *dir) error {
	var st unix.Stat_t
	if err := unix.Fstat(d.fd, &st); err != nil {
		return err
	}
	d.mode = st.Mode & 0o7777
	if err := r.mounted(d, &st); err != nil {
		return err
	}
	switch {
	case r.o.DryRun:
	case !d.existed:
		if empty, err := isEmpty(d.fd); err != nil {
			return err
		} else if !empty || isForeign(d.fd, &st) {
			return errSwapped
		}
	case unix.Geteuid() != 0 && d.mode&0o300 != 0o300:
		if err := unix.Fchmod(d.fd, d.mode|0o700); err != nil {
			return err
		}
	}
	d.keep = d.existed && r.o.Overwrite == Never
	return nil
}

var errSwapped = errors.New("something else was put in its place while it was being restored")

// isForeign tells a file that we cannot just have made, because it belongs to
// somebody else.
func isForeign(fd int, st *unix.Stat_t) bool {
	return int(st.Uid) != unix.Geteuid() && ownersKept(fd)
}

// mounted finds out whether a directory belongs to a file system that is mounted
// below the destination. There nothing is removed, and it is made durable by
// itself.
func (r *restorer) mounted(d *dir, st *unix.Stat_t) error {
	if d.parent == nil || !d.existed {
		return nil
	}
	mounted, err := isMount(d.parent.fd, d.fd)
	if err != nil {
		return err
	}
	d.apart = d.parent.apart || mounted
	if !mounted || r.o.DryRun || r.systems[st.Dev] != nil {
		return nil
	}
	fd, err := duplicate(d.fd)
	if err == nil {
		r.systems[st.Dev] = &system{fd, d.path}
	}
	return err
}

// ownersKept tells whether the file system gives a file to whoever made it.
// Those without owners, and servers that map them, do not.
func ownersKept(fd int) bool {
	var st unix.Statfs_t
	if err := unix.Fstatfs(fd, &st); err != nil {
		return true
	}
	switch int64(st.Type) {
	case unix.MSDOS_SUPER_MAGIC, unix.EXFAT_SUPER_MAGIC, unix.FUSE_SUPER_MAGIC, unix.NFS_SUPER_MAGIC,
		unix.SMB_SUPER_MAGIC, unix.CIFS_SUPER_MAGIC, unix.SMB2_SUPER_MAGIC, unix.V9FS_MAGIC, ntfs3Magic:
		return false
	}
	return true
}

const ntfs3Magic = 0x7366746e // of the kernel's fs/ntfs3/super.c; not in the headers

// release says that one thing in a directory is done. After the last one the
// directory gets its attributes, since nothing changes its time any more.
func (r *restorer) release(ctx context.Context, d *dir) {
	for ; d != nil && d.pending.Add(-1) == 0; d = d.parent {
		if d.fd < 0 {
			continue
		}
		r.settle(ctx, d)
		unix.Close(d.fd)
	}
}

func (r *restorer) settle(ctx context.Context, d *dir) {
	if d.entry == nil || r.o.DryRun {
		return
	}
	if !d.keep {
		r.attributes(ctx, node{fd: d.fd}, d.entry, d.path+"/")
	} else if unix.Geteuid() != 0 && d.mode&0o300 != 0o300 {
		if err := unix.Fchmod(d.fd, d.mode); err != nil {
			r.lose(ModeLost, d.path+"/", err)
		}
	}
	if err := r.sync(d.fd); err != nil {
		r.fail(d.path+"/", fmt.Errorf("writing it to the medium: %w", err))
	}
}
