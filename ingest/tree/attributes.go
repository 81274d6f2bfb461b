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

// entryOf is the entry of what was looked at; its xattrs, its target and a
// file's content are not in it yet.
func entryOf(name string, st *unix.Stat_t, device uint32) *repo.Entry {
	e := &repo.Entry{
		Name: name, Mode: st.Mode, UID: st.Uid, GID: st.Gid,
		Mtime: repo.Timestamp{Sec: st.Mtim.Sec, Nsec: uint32(st.Mtim.Nsec)},
		Ctime: repo.Timestamp{Sec: st.Ctim.Sec, Nsec: uint32(st.Ctim.Nsec)},
		Inode: st.Ino, Device: device, Links: uint32(st.Nlink), Blocks: uint64(st.Blocks),
	}
	switch st.Mode & unix.S_IFMT {
	case unix.S_IFCHR, unix.S_IFBLK:
		e.Rdev = uint64(unix.Major(st.Rdev))<<32 | uint64(unix.Minor(st.Rdev))
	case unix.S_IFREG, unix.S_IFDIR:
		e.Content.Size = st.Size
	}
	return e
}

// sameFile tells whether two looks at a file have seen it in the same state.
func sameFile(a, b *unix.Stat_t) bool {
	return a.Dev == b.Dev && a.Ino == b.Ino && a.Size == b.Size && a.Mtim == b.Mtim && a.Ctim == b.Ctim
}

// target reads where a symbolic link in an open directory points to.
func target(dir int, name string) (string, error) {
	buf := make([]byte, 256)
	for {
		var n int
		err := again(func() (err error) {
			n, err = unix.Readlinkat(dir, name, buf)
			return err
		})
		if errors.Is(err, unix.EINVAL) {
			return "", errReplaced
		}
		if err != nil || n < len(buf) {
			return string(buf[:max(n, 0)]), err
		}
		buf = make([]byte, 2*len(buf))
	}
}

// at is a path of a name in an open directory. Unlike a path of names it leads
// nowhere else when a directory above has been replaced; no call that follows
// symbolic links may be given it.
func at(dir int, name string) string { return "/proc/self/fd/" + strconv.Itoa(dir) + "/" + name }

// attributes reads extended attributes, with one buffer for all. It is not for
// concurrent use.
type attributes struct {
	writer *repo.FileWriter // keeps the values
	names  []byte
	value  []byte
}

func newAttributes(w *repo.FileWriter) *attributes {
	return &attributes{w, make([]byte, 4<<10), make([]byte, 4<<10)}
}

// A storeError is one of the repository, where it could be taken for one of the
// source.
type storeError struct{ error }

func (e storeError) Unwrap() error { return e.error }

// read returns the extended attributes of what is at a path, sorted by name. A
// file system without any is no error. One that vanishes meanwhile is left out.
func (a *attributes) read(ctx context.Context, path string) ([]repo.Xattr, error) {
	names, err := grow(&a.names, func(b []byte) (int, error) { return unix.Llistxattr(path, b) })
	if len(names) == 0 || errors.Is(err, unix.ENOTSUP) || errors.Is(err, unix.ENOSYS) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("listing its extended attributes: %w", err)
	}
	var all []repo.Xattr
	for name := range strings.SplitSeq(strings.TrimSuffix(string(names), "\x00"), "\x00") {
		value, err := grow(&a.value, func(b []byte) (int, error) { return unix.Lgetxattr(path, name, b) })
		if errors.Is(err, unix.ENODATA) || errors.Is(err, unix.ENOTSUP) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("reading its extended attribute %q: %w", name, err)
		}
		x, err := a.writer.PutXattr(ctx, name, value)
		if err != nil {
			return nil, storeError{err}
		}
		all = append(all, x)
	}
	slices.SortFunc(all, func(a, b repo.Xattr) int { return strings.Compare(a.Name, b.Name) })
	return all, nil
}

// grow calls with a buffer that is made larger until what is told fits.
func grow(buf *[]byte, call func([]byte) (int, error)) ([]byte, error) {
	for {
		var n int
		err := again(func() (err error) {
			n, err = call(*buf)
			return err
		})
		if errors.Is(err, unix.ERANGE) && len(*buf) < 1<<20 {
			*buf = make([]byte, 4*len(*buf))
			continue
		}
		if err != nil {
			return nil, err
		}
		return (*buf)[:n], nil
	}
}
