package vm

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// overlaysSuffix ends the name of a directory of overlays, which begins like that of a backup job.
const overlaysSuffix = ".overlays"

// overlayDir is where a guest's overlays are. Unlike a scratch directory it is never emptied: what is in it goes file
// by file, each when the disk's own image holds all that is in it.
type overlayDir struct {
	*scratch
}

// makeOverlayDir makes and locks the directory for a domain below parent, writable by the QEMU process and nobody else.
func makeOverlayDir(parent, uuid string, l label) (*overlayDir, error) {
	parent, err := filepath.Abs(parent)
	if err != nil {
		return nil, err
	}
	if err := makePassable(parent); err != nil {
		return nil, fmt.Errorf("directory for overlays: %w", err)
	}
	if err := mustLast(parent); err != nil {
		return nil, err
	}
	if err := mustBeSteady(parent); err != nil {
		return nil, err
	}
	dir := filepath.Join(parent, dirPrefix+uuid+overlaysSuffix)
	if err := os.Mkdir(dir, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return nil, fmt.Errorf("directory for overlays: %w", err)
	}
	s, err := lockScratch(dir)
	if err != nil {
		return nil, err
	}
	s.confined = l.confined
	if err := s.own(l); err != nil {
		s.lock.Close()
		return nil, fmt.Errorf("directory for overlays %w", err)
	}
	return &overlayDir{s}, nil
}

// mustBeSteady refuses a directory in which anybody may put another in the place of one of ours. It may be one like
// /tmp, with the sticky bit.
func mustBeSteady(dir string) error {
	st, err := os.Stat(dir)
	if err != nil {
		return fmt.Errorf("directory for overlays: %w", err)
	}
	if st.Mode().Perm()&0o002 != 0 && st.Mode()&fs.ModeSticky == 0 {
		return fmt.Errorf("%s lets everybody replace what is in it, and overlays hold the guest's newest data: take that away (chmod o-w, or chmod +t), or name another place with --scratch-dir", dir)
	}
	return nil
}

// mustLast refuses a file system that is gone when the host stops: what the guest has written would be gone with it.
func mustLast(dir string) error {
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		return fmt.Errorf("directory for overlays %s: %w", dir, err)
	}
	if st.Type == unix.TMPFS_MAGIC || st.Type == unix.RAMFS_MAGIC {
		return fmt.Errorf("%s is in memory, and overlays hold the guest's newest data until they are committed: name a place on disk with --scratch-dir", dir)
	}
	return nil
}

func (o *overlayDir) file(target string) string { return filepath.Join(o.dir, target+".qcow2") }

// mustBeEmpty refuses a directory with something in it: that belongs to no journal, or it would have been set right.
func (o *overlayDir) mustBeEmpty() error {
	names, err := os.ReadDir(o.dir)
	if err != nil {
		return fmt.Errorf("directory for overlays: %w", err)
	}
	if len(names) > 0 {
		return fmt.Errorf("%s has something in it (%s) that is in no journal, it may be an overlay with data of the guest: see qemu-img info --backing-chain, and move it away if nothing uses it",
			o.dir, names[0].Name())
	}
	return nil
}

// giveUp removes the directory if nothing is left in it, and releases its lock.
func (o *overlayDir) giveUp() {
	unix.Rmdir(o.dir)
	o.lock.Close()
}
