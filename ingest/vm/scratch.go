package vm

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// dirPrefix begins the name of a job's directory, which ends in the domain's UUID. By it a job that a killed run left
// is told from a job of another program.
const dirPrefix = "vaultfs-"

// maxSocketPath is what fits into struct sockaddr_un with its final zero byte.
const maxSocketPath = 107

// errLocked means that a living process holds the directory.
var errLocked = errors.New("in use by another vaultfs process")

// scratch is the directory of one backup job: QEMU's NBD socket, and the files that take what the guest overwrites
// while it is read. It is locked with flock for as long as its process lives, and removed at the end.
type scratch struct {
	dir      string
	lock     *os.File
	found    bool   // a run that was killed had left the directory
	confined string // the host's mandatory access control, for error texts
	keepFree func(size int64) int64
}

// makeScratch makes and locks the directory for a domain below parent, writable by the QEMU process and by nobody else.
func makeScratch(parent, uuid string, l label) (*scratch, error) {
	parent, err := filepath.Abs(parent)
	if err != nil {
		return nil, err
	}
	dir := filepath.Join(parent, dirPrefix+uuid)
	if socket := filepath.Join(dir, socketName); len(socket) > maxSocketPath {
		return nil, fmt.Errorf("scratch directory %s: its path is too long for a socket (%d bytes, at most %d)", parent, len(socket), maxSocketPath)
	}
	if err := makePassable(parent); err != nil {
		return nil, fmt.Errorf("scratch directory: %w", err)
	}
	made := os.Mkdir(dir, 0o700)
	if made != nil && !errors.Is(made, fs.ErrExist) {
		return nil, fmt.Errorf("scratch directory: %w", made)
	}
	s, err := lockScratch(dir)
	if err != nil {
		return nil, err
	}
	s.found, s.confined = made != nil, l.confined
	if err := s.own(l); err != nil {
		s.lock.Close() // what is in it is not ours
		return nil, fmt.Errorf("scratch directory %w", err)
	}
	if err := s.empty(); err != nil {
		s.lock.Close()
		return nil, fmt.Errorf("scratch directory %s: %w", dir, err)
	}
	return s, nil
}

// makePassable makes a directory and those above it that are missing, so that QEMU's user can pass through them. The
// umask has no say: it may keep everybody out.
func makePassable(dir string) error {
	if _, err := os.Stat(dir); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := makePassable(filepath.Dir(dir)); err != nil {
		return err
	}
	if err := os.Mkdir(dir, 0o711); err != nil {
		if errors.Is(err, fs.ErrExist) {
			return nil // somebody was faster
		}
		return err
	}
	return os.Chmod(dir, 0o711)
}

// lockScratch locks a directory that exists; errLocked if it is held by somebody.
func lockScratch(dir string) (*scratch, error) {
	fd, err := unix.Open(dir, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, &fs.PathError{Op: "open", Path: dir, Err: err}
	}
	f := os.NewFile(uintptr(fd), dir)
	err = unix.Flock(fd, unix.LOCK_EX|unix.LOCK_NB)
	if errors.Is(err, unix.EWOULDBLOCK) {
		err = errLocked
	}
	if err == nil && !samePlace(f, dir) {
		err = errLocked // the holder removed it between our open and our lock; somebody else is at it
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return &scratch{dir: dir, lock: f, keepFree: keepFree}, nil
}

// samePlace reports whether the open directory is still what its path names.
func samePlace(f *os.File, path string) bool {
	a, err := f.Stat()
	if err != nil {
		return false
	}
	b, err := os.Lstat(path)
	return err == nil && os.SameFile(a, b)
}

// own gives the directory to QEMU's user and nobody else. Where everybody may write beside it, anybody may have made it
// beforehand, to read what a guest writes: one of a stranger is refused, and of one of our own the mode is set anew.
func (s *scratch) own(l label) error {
	var st unix.Stat_t
	if err := unix.Fstat(int(s.lock.Fd()), &st); err != nil {
		return fmt.Errorf("%s: %w", s.dir, err)
	}
	owner := int(st.Uid)
	uid, gid, known := parseOwner(l.owner)
	if owner != 0 && owner != os.Geteuid() && !(known && owner == uid) {
		return fmt.Errorf("%s was made by somebody else (user %d), who could read what the VM writes: see what it is and remove it, or name another place with --scratch-dir", s.dir, owner)
	}
	if known && (owner != uid || int(st.Gid) != gid) {
		if err := s.lock.Chown(uid, gid); err != nil {
			return fmt.Errorf("%s: giving it to QEMU's user %d: %w (run as root)", s.dir, uid, err)
		}
	}
	if err := s.lock.Chmod(0o700); err != nil {
		return fmt.Errorf("%s: shutting everybody else out: %w (run as root)", s.dir, err)
	}
	return nil
}

// parseOwner reads libvirt's DAC label, "+UID:+GID".
func parseOwner(owner string) (uid, gid int, ok bool) {
	u, g, found := strings.Cut(owner, ":")
	uid, err1 := strconv.Atoi(strings.TrimPrefix(u, "+"))
	gid, err2 := strconv.Atoi(strings.TrimPrefix(g, "+"))
	return uid, gid, found && err1 == nil && err2 == nil
}

const socketName = "nbd.sock"

func (s *scratch) socket() string { return filepath.Join(s.dir, socketName) }

func (s *scratch) file(target string) string { return filepath.Join(s.dir, target+".scratch") }

// empty removes the files in the directory. QEMU's user can write here, so nothing is followed and nothing recursed into.
func (s *scratch) empty() error {
	names, err := s.lock.Readdirnames(-1)
	if err != nil {
		return err
	}
	for _, name := range names {
		if err := unix.Unlinkat(int(s.lock.Fd()), name, 0); err != nil && !errors.Is(err, unix.ENOENT) {
			return &fs.PathError{Op: "remove", Path: filepath.Join(s.dir, name), Err: err}
		}
	}
	_, err = s.lock.Seek(0, 0)
	return err
}

// remove removes the directory with what is in it, then releases the lock.
func (s *scratch) remove() error {
	defer s.lock.Close()
	if err := s.empty(); err != nil {
		return fmt.Errorf("scratch directory %s: %w", s.dir, err)
	}
	return os.Remove(s.dir)
}

// permissionHint says what lets QEMU write in the directory.
func (s *scratch) permissionHint() string {
	parent := filepath.Dir(s.dir)
	switch s.confined {
	case "apparmor":
		return fmt.Sprintf("AppArmor may forbid it: add the line \"%s/** rwk,\" to /etc/apparmor.d/local/abstractions/libvirt-qemu", parent)
	case "selinux":
		return fmt.Sprintf("SELinux may forbid it: see ausearch -m avc -ts recent, and allow QEMU (svirt_t) to use %s", parent)
	}
	return fmt.Sprintf("every folder above it must let QEMU's user pass (chmod o+x), see ls -ld %s", parent)
}
