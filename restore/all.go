package restore

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"vaultfs/repo"
)

// disksDir is where the disks of a whole snapshot go, as in the mount.
const disksDir = "disks"

// All writes every item of a snapshot below the directory dir, laid out as the
// mount shows it: disks/vda.qcow2 beside domain.xml. The directory is made, or
// is empty, or has Force. After an error the items that are returned are there
// and whole.
func All(ctx context.Context, r *repo.Repo, snap *repo.Snapshot, dir string, o Options) ([]*Written, error) {
	if o.Progress == nil {
		o.Progress = new(Progress)
	}
	made, err := makeDir(dir, o.Force)
	if err != nil {
		return nil, err
	}
	done, err := all(ctx, r, snap, dir, o)
	if made && len(done) == 0 && err != nil {
		os.Remove(filepath.Join(dir, disksDir))
		os.Remove(dir)
	}
	return done, err
}

func all(ctx context.Context, r *repo.Repo, snap *repo.Snapshot, dir string, o Options) (done []*Written, err error) {
	release, err := Pin(ctx, r, snap)
	if err != nil {
		return nil, err
	}
	defer release()
	sources, paths, err := openAll(ctx, r, snap, dir, o)
	if err != nil {
		return nil, err
	}
	var takes int64
	for _, s := range sources {
		takes += s.takes
		o.Progress.Total.Add(s.data)
	}
	if err := CheckSpace(dir, takes); err != nil {
		return nil, err
	}
	for i, s := range sources {
		if err := os.MkdirAll(filepath.Dir(paths[i]), 0o777); err != nil {
			return done, err
		}
		if err := writeFile(ctx, s, paths[i], o.Force, o.Progress); err != nil {
			return done, err
		}
		done = append(done, s.written(paths[i]))
	}
	return done, nil
}

// openAll opens the items and finds their places before anything is written.
func openAll(ctx context.Context, r *repo.Repo, snap *repo.Snapshot, dir string, o Options) (sources []*Source, paths []string, err error) {
	for _, it := range snap.Items {
		format, parent := chooseFormat(it, "", o), dir
		if it.Kind == repo.ItemDisk {
			parent = filepath.Join(dir, disksDir)
		}
		path, err := within(parent, it, format)
		if err != nil {
			return nil, nil, err
		}
		if info, err := os.Lstat(path); err == nil && !info.Mode().IsRegular() {
			return nil, nil, fmt.Errorf("%s exists and is not a regular file", path)
		}
		s, err := Open(ctx, r, it, format)
		if err != nil {
			return nil, nil, err
		}
		sources, paths = append(sources, s), append(paths, path)
	}
	return sources, paths, nil
}

// makeDir makes the directory, or sees to it that it may be used.
func makeDir(dir string, force bool) (made bool, err error) {
	err = os.Mkdir(dir, 0o777)
	switch {
	case err == nil:
		return true, nil
	case errors.Is(err, fs.ErrNotExist):
		return false, fmt.Errorf("%s does not exist; create it first", filepath.Dir(filepath.Clean(dir)))
	case !errors.Is(err, fs.ErrExist):
		return false, err
	}
	entries, err := os.ReadDir(dir)
	switch {
	case err != nil:
		return false, fmt.Errorf("a whole snapshot is restored to a directory: %w", err)
	case len(entries) > 0 && !force:
		return false, fmt.Errorf("the directory %s is not empty: choose another one, or go on with --force, which replaces files of the same names", dir)
	}
	return false, nil
}
