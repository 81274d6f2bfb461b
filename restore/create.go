package restore

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
)

// Create makes a file of what write writes. Like all that is restored it appears
// under its name when it is whole and durable, and replaces an existing one only
// with force. An error of write is returned as it is.
func Create(ctx context.Context, dest string, force bool, write func(io.Writer) error) error {
	if _, err := os.Lstat(dest); err == nil && !force {
		return existsError(dest)
	}
	if info, err := os.Stat(dest); err == nil && !info.Mode().IsRegular() {
		return fmt.Errorf("%s is not a regular file, and is not replaced: choose another name; --to - writes to standard output", dest)
	}
	return create(ctx, dest, force, func(f *os.File) error { return write(f) })
}

// create is Create of a file that need not be written from its beginning to its
// end. What exists has been looked at.
func create(ctx context.Context, dest string, force bool, write func(*os.File) error) (err error) {
	dir := filepath.Dir(dest)
	f, err := os.CreateTemp(dir, tempPattern)
	if err != nil {
		return fileError(dest, err)
	}
	defer func() {
		f.Close()
		if err != nil {
			os.Remove(f.Name())
		}
	}()
	if err := write(f); err != nil {
		return err
	}
	if err := f.Sync(); err != nil {
		return fileError(dest, err)
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := publish(f.Name(), dest, force); err != nil {
		return fileError(dest, err)
	}
	if err := SyncDir(dir); err != nil {
		return fileError(dest, err)
	}
	return nil
}
