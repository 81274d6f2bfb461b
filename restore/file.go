package restore

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// tempPattern names files that are not whole yet.
const tempPattern = ".vaultfs-restore-*"

// writeFile writes a source to a file that is not there before it is whole. An
// existing file is replaced only with force.
func writeFile(ctx context.Context, s *Source, dest string, force bool, p *Progress) error {
	return create(ctx, dest, force, func(f *os.File) error {
		err := f.Truncate(s.Size())
		if err == nil {
			o := newOutput(f)
			defer o.close()
			err = (&copier{src: s, dst: o, progress: p}).copy(ctx)
		}
		if err != nil {
			return fileError(dest, err)
		}
		return nil
	})
}

// publish gives a file its name.
func publish(temp, dest string, force bool) error {
	if force {
		return os.Rename(temp, dest)
	}
	err := unix.Renameat2(unix.AT_FDCWD, temp, unix.AT_FDCWD, dest, unix.RENAME_NOREPLACE)
	if errors.Is(err, unix.EINVAL) || errors.Is(err, unix.ENOSYS) {
		// The file system cannot: link(2) does not replace either.
		if err = os.Link(temp, dest); err == nil {
			err = os.Remove(temp)
		}
	}
	return err
}

// SyncDir makes the names in a directory durable.
func SyncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}

// fileError says in one sentence what kept dest from being written.
func fileError(dest string, err error) error {
	switch e := err.(type) { // the names in these are the temporary file's
	case *fs.PathError:
		err = e.Err
	case *os.LinkError:
		err = e.Err
	}
	dir := filepath.Dir(dest)
	switch {
	case errors.Is(err, fs.ErrExist):
		return existsError(dest)
	case errors.Is(err, fs.ErrNotExist):
		return directoryError(dir, err)
	case errors.Is(err, unix.ENOSPC), errors.Is(err, unix.EDQUOT):
		return fmt.Errorf("restoring %s: no space left in %s; nothing of it was kept", dest, dir)
	case errors.Is(err, unix.EFBIG):
		return fmt.Errorf("restoring %s: the file system of %s does not hold files of that size", dest, dir)
	}
	return fmt.Errorf("restoring %s: %w", dest, err)
}

func directoryError(dir string, err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("the directory %s does not exist; create it first", dir)
	}
	return fmt.Errorf("directory %s: %w", dir, err)
}

func existsError(dest string) error {
	return fmt.Errorf("%s exists: choose another name, or replace it with --force", dest)
}
