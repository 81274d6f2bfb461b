package tree

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
	"vaultfs/repo"
)

// A node is a file, of any type, that is open. One that cannot or must not be
// opened for reading is open with O_PATH, and what descriptors of that kind are
// not taken for is done through /proc.
type node struct {
	fd   int
	path bool // O_PATH
}

func (n node) proc() string { return "/proc/self/fd/" + strconv.Itoa(n.fd) }

func (n node) chmod(mode uint32) error {
	if n.path {
		return unix.Chmod(n.proc(), mode)
	}
	return unix.Fchmod(n.fd, mode)
}

func (n node) chown(uid, gid int) error {
	return unix.Fchownat(n.fd, "", uid, gid, unix.AT_EMPTY_PATH)
}

func (n node) setxattr(name string, value []byte) error {
	if n.path {
		return unix.Setxattr(n.proc(), name, value, 0)
	}
	return unix.Fsetxattr(n.fd, name, value, 0)
}

func (n node) removexattr(name string) error {
	if n.path {
		return unix.Removexattr(n.proc(), name)
	}
	return unix.Fremovexattr(n.fd, name)
}

// xattrs lists the names of the extended attributes; none where the file system
// has no such thing.
func (n node) xattrs() ([]string, error) {
	list := func(b []byte) (int, error) { return unix.Flistxattr(n.fd, b) }
	if n.path {
		list = func(b []byte) (int, error) { return unix.Listxattr(n.proc(), b) }
	}
	size, err := list(nil)
	if errors.Is(err, unix.EOPNOTSUPP) || (err == nil && size == 0) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	b := make([]byte, size+1024) // it may grow meanwhile
	if size, err = list(b); err != nil {
		return nil, err
	}
	return strings.Split(strings.TrimSuffix(string(b[:size]), "\x00"), "\x00"), nil
}

// touch sets the time of the last modification. That of the last access becomes
// now: file systems made with version 2 of libfuse ignore, and report no error,
// when only one of the two is to be set.
func (n node) touch(at repo.Timestamp) error {
	times := []unix.Timespec{{Nsec: unix.UTIME_NOW}, {Sec: at.Sec, Nsec: int64(at.Nsec)}}
	err := unix.UtimesNanoAt(n.fd, "", times, unix.AT_EMPTY_PATH)
	if errors.Is(err, unix.EINVAL) || errors.Is(err, unix.ENOENT) { // Linux before 5.8
		err = unix.UtimesNanoAt(unix.AT_FDCWD, n.proc(), times, 0)
	}
	return err
}

// attributes gives a node the attributes of an entry, as far as that can be
// done. The order matters: a change of the owner takes away set-user-ID and
// capabilities, an access control list changes the mode, and all of that the
// time of nothing but the last change.
func (r *restorer) attributes(ctx context.Context, n node, e *repo.Entry, path string) {
	var now unix.Stat_t
	if err := unix.Fstatat(n.fd, "", &now, unix.AT_EMPTY_PATH); err != nil {
		r.lose(ModeLost, path, err)
		return
	}
	drop := r.owner(n, e, &now, path)
	listed := r.xattrs(ctx, n, e, path)
	if want := e.Permissions() &^ drop; !e.IsSymlink() && (listed || want != now.Mode&0o7777 || now.Uid != e.UID || now.Gid != e.GID) {
		if err := n.chmod(want); err != nil {
			r.lose(ModeLost, path, err)
		}
	}
	if drop &= e.Permissions(); drop != 0 {
		r.lose(ModeLost, path, fmt.Errorf("mode %04o without %04o, because the owner is another", e.Permissions(), drop))
	}
	if err := n.touch(e.Mtime); err != nil {
		r.lose(TimeLost, path, err)
	}
}

// owner sets the owner and returns the bits of the mode that must not be given
// to the owner that the node has instead.
func (r *restorer) owner(n node, e *repo.Entry, now *unix.Stat_t, path string) (drop uint32) {
	if now.Uid == e.UID && now.Gid == e.GID {
		return 0
	}
	err := n.chown(int(e.UID), int(e.GID))
	if err == nil {
		return 0
	}
	r.lose(OwnerLost, path, fmt.Errorf("owner %d:%d: %w", e.UID, e.GID, err))
	gid := now.Gid == e.GID || n.chown(-1, int(e.GID)) == nil
	if now.Uid != e.UID {
		drop |= unix.S_ISUID
	}
	if !gid && !e.IsDir() {
		drop |= unix.S_ISGID
	}
	return drop
}

// xattrs makes the extended attributes those of the entry. It tells whether it
// did anything at all.
func (r *restorer) xattrs(ctx context.Context, n node, e *repo.Entry, path string) (did bool) {
	lost := map[Loss]error{}
	note := func(name, what string, err error) {
		if l := lossOf(name, err); err != nil && lost[l] == nil {
			lost[l] = fmt.Errorf("%s%q: %w", what, name, err)
		}
	}
	have, err := n.xattrs()
	if err != nil {
		lost[XattrLost] = err
	}
	for _, name := range have {
		wanted := slices.ContainsFunc(e.Xattrs, func(x repo.Xattr) bool { return x.Name == name })
		if !wanted && ours(name) {
			did = true
			note(name, "removing ", n.removexattr(name))
		}
	}
	for i := range e.Xattrs {
		did = true
		x := &e.Xattrs[i]
		value, err := r.tree.Xattr(ctx, x)
		if err == nil {
			err = n.setxattr(x.Name, value)
		}
		note(x.Name, "", err)
	}
	for l, err := range lost {
		r.lose(l, path, err)
	}
	return did
}

// The access control lists are attributes that begin so.
const aclPrefix = "system.posix_acl_"

// ours tells the attributes that are removed if the entry does not have them.
// Others, such as the labels of SELinux, are the system's to give.
func ours(name string) bool {
	return strings.HasPrefix(name, "user.") || strings.HasPrefix(name, "trusted.") ||
		strings.HasPrefix(name, aclPrefix) || name == "security.capability"
}

func lossOf(name string, err error) Loss {
	switch {
	case errors.Is(err, repo.ErrDamaged):
		return Damaged
	case strings.HasPrefix(name, aclPrefix):
		return ACLLost
	}
	return XattrLost
}
