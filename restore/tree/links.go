package tree

import (
	"context"
	"errors"
	"strconv"
	"strings"
	"sync"

	"golang.org/x/sys/unix"
	"vaultfs/repo"
)

// An inode tells a file of the source from all others.
type inode struct {
	ino    uint64
	device uint32
}

// inodeOf tells whether an entry may be one of several names of a file.
func inodeOf(e *repo.Entry) (inode, bool) {
	return inode{e.Inode, e.Device}, e.Links > 1 && e.Inode != 0
}

// A made is the identity of a file that was made.
type made struct{ dev, ino uint64 }

// A link is a file that has several names. It is kept until the last one has
// come, which in a farm of hard links may be never: a million take 150 MB.
type link struct {
	mu      sync.Mutex // held while the first name is being made, so that the others wait
	left    uint32     // names that have not come
	content [16]byte   // the beginning of its ID, which is a keyed hash
	dir     string     // of the first name
	name    string
	id      made // zero if nothing was made yet
}

func contentOf(e *repo.Entry) [16]byte { return [16]byte(e.Content.ID[:16]) }

// further takes note of an entry with several names. It returns nil for one that
// has a single name.
func (r *restorer) further(t task) *link {
	id, linked := inodeOf(t.e)
	if !linked {
		return nil
	}
	r.linksMu.Lock()
	defer r.linksMu.Unlock()
	l := r.links[id]
	if l == nil {
		l = &link{left: t.e.Links, content: contentOf(t.e)}
		r.links[id] = l
	}
	if l.left--; l.left == 0 {
		delete(r.links, id)
	}
	return l
}

// isFurther tells in a dry run whether an entry is not the first name of its
// file.
func (r *restorer) isFurther(t task) bool {
	l := r.further(t)
	if l == nil || l.content != contentOf(t.e) {
		return false
	}
	first := l.id == made{}
	l.id = made{1, 1}
	return !first
}

// makeLinked makes an entry, or gives another name to the file that it is
// already. The first name is being made, if it is not done, by a worker that
// does not wait for anybody: tasks come in order.
func (r *restorer) makeLinked(ctx context.Context, t task, action Action) (linked bool, data int64, err error) {
	l := r.further(t)
	if l == nil {
		data, _, err = r.make(ctx, t, action)
		return false, data, err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.content != contentOf(t.e) { // it changed while it was backed up
		data, _, err = r.make(ctx, t, action)
		return false, data, err
	}
	if l.id != (made{}) {
		err := r.link(l, t, action)
		if err == nil {
			return true, 0, nil
		}
		if errors.Is(err, unix.ENOSPC) || errors.Is(err, unix.EDQUOT) {
			return false, 0, err
		}
		r.lose(LinkLost, t.dir.below(t.name), err)
	}
	data, id, err := r.make(ctx, t, action)
	if err == nil && l.id == (made{}) {
		l.dir, l.name, l.id = t.dir.rel, t.name, id
	}
	return false, data, err
}

// link gives a file another name. It is found by its first one, and linked only
// if it is the file that was made under that.
func (r *restorer) link(l *link, t task, action Action) error {
	first, err := r.reopen(l)
	if err != nil {
		return err
	}
	defer unix.Close(first)
	from := node{fd: first}.proc()
	if action != Replace {
		err := unix.Linkat(unix.AT_FDCWD, from, t.dir.fd, t.name, unix.AT_SYMLINK_FOLLOW)
		if errors.Is(err, unix.EEXIST) {
			return errAppeared
		}
		return err
	}
	temp := r.temp + strconv.FormatUint(r.temps.Add(1), 10)
	if err := unix.Linkat(unix.AT_FDCWD, from, t.dir.fd, temp, unix.AT_SYMLINK_FOLLOW); err != nil {
		return err
	}
	err = publish(t.dir.fd, temp, t.name, action)
	// To rename one name of a file to another of the same does nothing.
	if gone := unix.Unlinkat(t.dir.fd, temp, 0); err == nil && gone != nil && !errors.Is(gone, unix.ENOENT) {
		err = gone
	}
	return err
}

// reopen opens the first name of a file, without following any symbolic link.
func (r *restorer) reopen(l *link) (fd int, err error) {
	at := r.root
	for name := range strings.SplitSeq(l.dir+l.name, "/") {
		fd, err = unix.Openat(at, name, unix.O_PATH|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
		if at != r.root {
			unix.Close(at)
		}
		if err != nil {
			return -1, err
		}
		at = fd
	}
	var st unix.Stat_t
	err = unix.Fstatat(fd, "", &st, unix.AT_EMPTY_PATH)
	if err == nil && l.id != (made{st.Dev, st.Ino}) {
		err = errors.New("the file that it is another name of was replaced meanwhile")
	}
	if err != nil {
		unix.Close(fd)
		return -1, err
	}
	return fd, nil
}
