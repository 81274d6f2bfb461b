package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"vaultfs/repo"
	"vaultfs/restore"
)

// An entry is a file of a snapshot as the mount shows it.
type entry struct {
	path   string
	item   repo.Item
	format string      // of a disk's file: restore.QCOW2 or restore.Raw
	size   int64       // bytes; of a directory those of all files below
	stored *repo.Entry // of a file or a directory of a tree
}

const disksDir = "disks/"

// entriesOf lists the files of a snapshot, and its trees.
func entriesOf(s *repo.Snapshot) (entries []entry) {
	for _, it := range s.Items {
		if it.Name == repo.WholeTree {
			continue // its entries are the snapshot's files
		}
		if it.Kind != repo.ItemDisk {
			entries = append(entries, entry{path: it.Name, item: it})
			continue
		}
		for _, format := range []string{restore.QCOW2, restore.Raw} {
			entries = append(entries, entry{path: disksDir + it.Name + "." + format, item: it, format: format})
		}
	}
	return entries
}

// find returns the files that a path names: one, or those of a directory or a
// disk, or all for "". The path of a disk's file may lack the directory.
func find(s *repo.Snapshot, path string) ([]entry, error) {
	all := entriesOf(s)
	path = strings.Trim(path, "/")
	for _, fits := range []func(entry) bool{
		func(e entry) bool { return path == "" || e.path == path },
		func(e entry) bool { return strings.HasPrefix(e.path, path+"/") },
		func(e entry) bool { return e.item.Name == path || disksDir+e.item.Name == path },
		func(e entry) bool { return e.path == disksDir+path },
	} {
		found := slices.DeleteFunc(slices.Clone(all), func(e entry) bool { return !fits(e) })
		if len(found) > 0 {
			return found, nil
		}
	}
	var names []string
	for _, e := range all {
		names = append(names, e.path)
	}
	return nil, fmt.Errorf("snapshot %s holds no %q; it holds %s", s.Short(), path, listed(names))
}

// findItem returns the one item that a path names, and the format that it
// suggests, "" for none.
func findItem(s *repo.Snapshot, path string) (it repo.Item, format string, err error) {
	found, err := find(s, path)
	if err != nil {
		return it, "", err
	}
	if len(found) == 1 {
		return found[0].item, found[0].format, nil
	}
	for _, e := range found {
		if e.item.Name != found[0].item.Name {
			return it, "", fmt.Errorf("%q is a directory: name one of its files, or leave the path out to restore the whole snapshot", path)
		}
	}
	return found[0].item, "", nil
}

// resolvePath takes SNAP:PATH apart. A time in SNAP holds colons too, so the
// longest beginning that is a snapshot is taken for SNAP.
func resolvePath(ctx context.Context, r *repo.Repo, arg string) (s *repo.Snapshot, path string, err error) {
	var told error
	for end := len(arg); end > 0; end = strings.LastIndexByte(arg[:end], ':') {
		s, err := r.Resolve(ctx, arg[:end])
		if err == nil {
			return s, strings.TrimPrefix(arg[end:], ":"), nil
		}
		// What is said of the shortest beginning is the clearest, unless that
		// is half a time.
		if told == nil || errors.Is(err, repo.ErrNotFound) || errors.Is(err, repo.ErrAmbiguous) {
			told = err
		}
	}
	if told == nil {
		told = errors.New("no snapshot is named")
	}
	return nil, "", told
}

// mostListed names are told to someone who mistyped one.
const mostListed = 12

// listed writes some names in a row, not too many.
func listed(names []string) string {
	if len(names) > mostListed {
		names = append(slices.Clone(names[:mostListed]), "…")
	}
	return strings.Join(names, ", ")
}
