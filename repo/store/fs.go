package store

import (
	"errors"
	"io"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// fileSystem is what Dir needs of a file system. Names are relative to the
// store's root, "." is the root itself. No method follows a symbolic link.
// Errors wrap errnos.
type fileSystem interface {
	// open opens a regular file, ENOENT for a directory, an error for
	// anything else.
	open(name string, write bool) (file, error)
	// createNameless makes a file in dir's file system that vanishes when it
	// is closed without having been linked. See unsupported.
	createNameless(dir string) (file, error)
	createNamed(name string) (file, error)

	// link gives an open file a (further) name; EEXIST if name is taken.
	link(f file, name string) error
	// rename moves a file. Unless replace is set it fails with EEXIST if
	// newName is taken. See unsupported.
	rename(oldName, newName string, replace bool) error
	unlink(name string) error
	mkdir(name string) error
	rmdir(name string) error
	syncDir(name string) error

	stat(name string) (fileStat, error)
	// readDir calls fn for each entry of a directory, in any order, except
	// those that vanish meanwhile.
	readDir(name string, fn func(base string, st fileStat) error) error
	usage() (usage, error)
	close() error
}

// file is an open file.
type file interface {
	io.ReaderAt
	io.Closer
	// write writes all of p at byte off of the file.
	write(p []byte, off int64) error
	// truncate sets the file's length to 0.
	truncate() error
	sync() error
	// tryLock takes the flock(2), and says whether it got it.
	tryLock(exclusive bool) (bool, error)
	stat() (fileStat, error)
	// dropCache asks for the next reads to come from the medium.
	dropCache() error
}

type fileKind int

const (
	kindOther fileKind = iota
	kindFile
	kindDir
)

type fileStat struct {
	kind    fileKind
	size    int64
	modTime time.Time
	dev     uint64
	ino     uint64
}

// same reports whether two stats are of one file.
func (s fileStat) same(o fileStat) bool { return s.dev == o.dev && s.ino == o.ino }

type usage struct {
	free, total int64  // bytes, as an unprivileged user sees them
	magic       uint32 // statfs(2) f_type; 0 for Mem
}

// unsupported reports whether a file system refused an operation because it
// has no such thing: O_TMPFILE (EISDIR from old kernels), RENAME_NOREPLACE
// (EINVAL). See open(2), rename(2).
func unsupported(err error) bool {
	for _, errno := range []syscall.Errno{unix.EOPNOTSUPP, unix.ENOSYS, unix.EINVAL, unix.EISDIR} {
		if errors.Is(err, errno) {
			return true
		}
	}
	return false
}
