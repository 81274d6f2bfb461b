package main

import (
	"context"
	"errors"

	"github.com/spf13/cobra"
	"vaultfs/repo"
	"vaultfs/restore"
)

func (a *app) lsCommand() *cobra.Command {
	var o lsOptions
	c := &cobra.Command{
		Use:   "ls SNAP[:PATH]",
		Short: "List the files of a snapshot",
		Long: `List the files of a snapshot with their sizes in bytes, as the mount shows them.
Every disk is there twice, as .qcow2 and as .raw; it is stored once. So is what
a VMA archive held, which is there as the archive itself too.

Of a directory in a stored tree the entries are listed, and with --recursive all
that is below it. The size of a directory is that of all files below it. With
--long there are the modes, the owners' numbers, the times of modification and
where symbolic links lead to. PATH may be a file; symbolic links are not followed.

Bytes of a name that a terminal must not be sent are shown as \x1b. With --null
the paths alone are written as they are, each ended by a NUL byte, for xargs -0.
With --json a path that is no UTF-8 is also there in base64, as "path_bytes".

The paths are what "restore" takes after the colon; a disk's bare name will do
there too.`,
		Example: `  vaultfs ls vm/win11
  vaultfs ls vm/win11@2026-11-21:disks
  vaultfs ls -l tree/etc:ssh
  vaultfs ls -R --null tree/etc | xargs -0 -n1 echo`,
		Args: exactly(1),
		RunE: func(c *cobra.Command, args []string) error {
			if o.null && (o.long || a.print.json) {
				return usage(c, "--null writes paths alone: leave out --long and --json")
			}
			return a.withRepo(c.Context(), func(r *repo.Repo) error { return a.ls(c.Context(), r, args[0], o) })
		},
		ValidArgsFunction: a.completePaths,
	}
	c.Flags().BoolVarP(&o.recursive, "recursive", "R", false, "list all that is below a directory of a tree")
	c.Flags().BoolVarP(&o.long, "long", "l", false, "show modes, owners, times and the targets of links")
	c.Flags().BoolVarP(&o.null, "null", "0", false, "write the paths alone, as they are, each ended by a NUL byte")
	return c
}

type lsOptions struct{ recursive, long, null bool }

func (a *app) ls(ctx context.Context, r *repo.Repo, arg string, o lsOptions) error {
	s, path, err := resolvePath(ctx, r, arg)
	if err != nil {
		return err
	}
	// What cannot be pinned, as by a user who may only read, is listed all the same.
	pin, err := r.Pin(ctx, "ls", s)
	if errors.Is(err, repo.ErrNotFound) {
		return err
	}
	if err == nil {
		defer pin.Release(context.WithoutCancel(ctx))
	}
	l := a.print.listing(o)
	place, err := findInTree(ctx, r, s, path)
	switch {
	case err != nil:
	case place != nil:
		err = listPlace(ctx, place, o, l.add)
	default:
		err = listItems(ctx, r, s, path, o, l.add)
	}
	if err != nil && !l.begun() {
		return err
	}
	l.end()
	return err
}

// listItems tells of the items that a path names. A tree is one of them, and with
// recursion all that it holds.
func listItems(ctx context.Context, r *repo.Repo, s *repo.Snapshot, path string, o lsOptions, tell func(entry)) error {
	entries, err := findMeasured(ctx, r, s, path)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if e.item.Kind != repo.ItemTree {
			tell(e)
			continue
		}
		place, err := findInTree(ctx, r, s, e.path)
		if err != nil {
			return err
		}
		tell(place.entryOf("", place.entry))
		if o.recursive {
			if err := listBelow(ctx, place, place.entry, "", o, tell); err != nil {
				return err
			}
		}
	}
	return nil
}

// listPlace tells of a file, or of what is in a directory.
func listPlace(ctx context.Context, p *treePlace, o lsOptions, tell func(entry)) error {
	if !p.entry.IsDir() {
		tell(p.entryOf("", p.entry))
		return nil
	}
	return listBelow(ctx, p, p.entry, "", o, tell)
}

func listBelow(ctx context.Context, p *treePlace, dir *repo.Entry, path string, o lsOptions, tell func(entry)) error {
	for e, err := range p.tree.Entries(ctx, dir, "") {
		if err == nil {
			err = ctx.Err()
		}
		if err != nil {
			return err
		}
		name := joined(path, e.Name)
		tell(p.entryOf(name, e))
		if o.recursive && e.IsDir() {
			if err := listBelow(ctx, p, e, name, o, tell); err != nil {
				return err
			}
		}
	}
	return nil
}

// entryOf is an entry below the place, or its own for "".
func (p *treePlace) entryOf(below string, e *repo.Entry) entry {
	size := e.Content.Size
	switch {
	case e.IsDir():
		size = int64(e.Below.Bytes)
	case e.IsSymlink():
		size = int64(len(e.Target))
	}
	return entry{path: p.shown(below), item: p.item, size: size, stored: e}
}

// findMeasured returns the files that a path names, with their sizes. One of them
// may be the archive that is computed from the others.
func findMeasured(ctx context.Context, r *repo.Repo, s *repo.Snapshot, path string) ([]entry, error) {
	archive, err := restore.ArchiveName(ctx, r, s)
	if err != nil {
		return nil, err
	}
	path = cleaned(path)
	var entries []entry
	if archive == "" || path != archive {
		if entries, err = find(s, path); err != nil {
			return nil, err
		}
		if err := addSizes(ctx, r, entries); err != nil {
			return nil, err
		}
	}
	if archive != "" && (path == "" || path == archive) {
		source, err := restore.Archive(ctx, r, s)
		if err != nil {
			return nil, err
		}
		entries = append(entries, entry{path: archive, item: repo.Item{Name: archive, Kind: repo.ItemFile}, format: restore.VMA, size: source.Size()})
	}
	return entries, nil
}

// addSizes finds out how long the files are.
func addSizes(ctx context.Context, r *repo.Repo, entries []entry) error {
	for i, e := range entries {
		if e.format != restore.QCOW2 {
			entries[i].size = e.item.Size
			continue
		}
		s, err := restore.Open(ctx, r, e.item, e.format)
		if err != nil {
			return err
		}
		entries[i].size = s.Size()
	}
	return nil
}
