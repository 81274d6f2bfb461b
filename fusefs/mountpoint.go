package fusefs

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
	"vaultfs/internal/paths"
)

// checkMountPoint refuses a directory that cannot or should not be mounted on, and
// returns its path, absolute and without symbolic links.
func checkMountPoint(dir, exclude string) (string, error) {
	info, err := os.Stat(dir)
	switch {
	case errors.Is(err, unix.ENOTCONN):
		return "", fmt.Errorf("mount point %s: a mount whose program has died is still there; remove it with: vaultfs umount %s", dir, dir)
	case errors.Is(err, os.ErrNotExist):
		return "", fmt.Errorf("mount point %s does not exist; create the directory first", dir)
	case err != nil:
		return "", fmt.Errorf("mount point: %w", err)
	case !info.IsDir():
		return "", fmt.Errorf("mount point %s is not a directory", dir)
	}
	path, err := paths.Real(dir)
	if err != nil {
		return "", fmt.Errorf("mount point: %w", err)
	}
	if err := checkOutside(path, exclude); err != nil {
		return "", err
	}
	switch m, err := mountAt(path); {
	case err != nil:
		return "", err
	case m == mountType:
		return "", fmt.Errorf("mount point %s: a repository is mounted there already; remove it with: vaultfs umount %s", dir, dir)
	}
	entries, err := os.ReadDir(path)
	if err != nil {
		return "", fmt.Errorf("mount point: %w", err)
	}
	if len(entries) > 0 {
		return "", fmt.Errorf("mount point %s is not empty; it holds %q", dir, entries[0].Name())
	}
	return path, nil
}

// checkOutside refuses a mount point in the repository's directory.
func checkOutside(path, exclude string) error {
	if exclude == "" {
		return nil
	}
	exclude, err := paths.Real(exclude)
	if err != nil {
		return fmt.Errorf("repository: %w", err)
	}
	if paths.Inside(exclude, path) {
		return fmt.Errorf("mount point %s lies inside the repository %s", path, exclude)
	}
	return nil
}

// mountError says what to do about a mount that failed.
func mountError(dir string, o Options, err error) error {
	hint := ""
	switch _, missing := os.Stat("/dev/fuse"); {
	case missing != nil:
		hint = "; there is no /dev/fuse: load the kernel's module with: modprobe fuse"
	case os.Geteuid() != 0 && o.AllowOther:
		hint = "; for other users to read it, /etc/fuse.conf needs the line user_allow_other"
	case os.Geteuid() != 0:
		hint = "; without root it takes fusermount3, of the package fuse3"
	}
	return fmt.Errorf("mounting on %s: %w%s", dir, err, hint)
}
