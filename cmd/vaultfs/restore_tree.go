package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"runtime/debug"
	"time"

	"github.com/spf13/cobra"
	"vaultfs/internal/paths"
	"vaultfs/repo"
	"vaultfs/restore"
	"vaultfs/restore/tree"
)

// restoreTree restores a tree, or what a path names in it.
func (a *app) restoreTree(c *cobra.Command, snap *repo.Snapshot, p *treePlace, o restoreOptions) error {
	ctx := c.Context()
	a.onInterrupt = "; every file that is there is whole, and --overwrite if-newer or always goes on"
	if o.dry {
		a.onInterrupt = "; nothing was changed"
	}
	if err := a.mayOverwrite(c, snap, p, o); err != nil {
		return err
	}
	report, took, err := a.putBack(ctx, p, o.to, o)
	if report != nil {
		a.print.restoredTree(snap, p, o, report, took)
	}
	if errors.Is(err, tree.ErrUsage) {
		return usage(c, "%v", err)
	}
	return restoreStatus(report, err)
}

// treeMemory is from how much memory on the collector of garbage saves memory
// rather than time, in bytes: what a million hard links take, which is the most
// that a restore keeps, need not be there twice.
const treeMemory = 300 << 20

// putBack restores what a place names to dest, and shows how that goes on.
func (a *app) putBack(ctx context.Context, p *treePlace, dest string, o restoreOptions) (*tree.Report, time.Duration, error) {
	defer debug.SetMemoryLimit(debug.SetMemoryLimit(treeMemory))
	begin := time.Now()
	with := tree.Options{Overwrite: tree.Overwrite(o.overwrite), Delete: o.delete, DryRun: o.dry, NoFollow: o.noFollow, Progress: new(restore.Progress)}
	stop := func() {}
	if o.dry {
		with.Each = a.print.wouldDo
	} else {
		stop = a.restoring(with.Progress)
	}
	report, err := tree.Restore(ctx, p.tree, p.entry, dest, with)
	stop()
	return report, time.Since(begin), err
}

// restoreStatus is how a restore of a tree ends: what was lost has been told.
func restoreStatus(report *tree.Report, err error) error {
	switch {
	case err != nil:
		return err
	case report.Damage() != nil:
		return &statusError{statusDamage, fmt.Errorf("the repository could not give back everything: %w; everything else was restored; see what else is damaged with `vaultfs verify --read-data`", report.Damage())}
	case report.Lost() > 0 && report.Files+report.Dirs+report.Others+report.Kept == 0:
		return &statusError{statusFailed, errors.New("nothing was restored")}
	case len(report.Failures) > 0:
		return &statusError{statusPartial, nil}
	}
	return nil
}

// mayOverwrite refuses what would do harm that nobody can mean, and asks before
// the running system is overwritten.
func (a *app) mayOverwrite(c *cobra.Command, snap *repo.Snapshot, p *treePlace, o restoreOptions) error {
	to, err := paths.Real(o.to)
	if err != nil || o.dry || !p.entry.IsDir() {
		return nil // there is nothing to overwrite
	}
	if inside, err := paths.Real(a.repoPath); err == nil && o.delete && paths.Inside(to, inside) {
		return fmt.Errorf("the repository %s lies in %s: --delete would remove it; restore without --delete", a.repoPath, o.to)
	}
	if o.delete && snap.Info.Summary.FilesUnread > 0 {
		a.print.warn(fmt.Sprintf("%d files could not be read when snapshot %s was made: --delete takes those for surplus that are not in it", snap.Info.Summary.FilesUnread, snap.Short()))
	}
	if to != "/" || o.overwrite == "" || o.yes {
		return nil
	}
	if !a.canAsk() {
		return usage(c, "this restores over the whole running system: give --yes if that is meant")
	}
	sure, err := a.confirm(c.Context(), fmt.Sprintf("Restore snapshot %s of %s over the whole running system?", snap.Short(), snap.Source))
	if err == nil && !sure {
		err = errors.New("nothing was restored")
	}
	return err
}

// named is the place in words.
func (p *treePlace) named() string {
	if shown := p.shown(""); shown != "" {
		return fmt.Sprintf("%q", shown)
	}
	return "the snapshot"
}

// holdsTrees tells a snapshot of which a part is a tree.
func holdsTrees(s *repo.Snapshot) bool {
	for _, it := range s.Items {
		if it.Kind == repo.ItemTree {
			return true
		}
	}
	return false
}

// restoreMixed restores a snapshot that holds trees beside other files, such as
// that of a container: every tree becomes a directory of its name in DEST.
func (a *app) restoreMixed(c *cobra.Command, r *repo.Repo, snap *repo.Snapshot, o restoreOptions) error {
	ctx := c.Context()
	files := *snap
	files.Items = nil
	var trees []*treePlace
	for _, it := range snap.Items {
		if it.Kind != repo.ItemTree {
			files.Items = append(files.Items, it)
			continue
		}
		if filepath.Base(it.Name) != it.Name || !filepath.IsLocal(it.Name) {
			return fmt.Errorf("the item %q has a name that is no file name: restore it by itself to a name of your choice", it.Name)
		}
		p, err := findInTree(ctx, r, snap, it.Name)
		if err != nil {
			return err
		}
		trees = append(trees, p)
	}
	if err := a.restoreFiles(ctx, r, &files, "", o); err != nil {
		return err
	}
	a.onInterrupt = "; every file that is there is whole, and --force goes on"
	var failed error
	for _, p := range trees {
		to := o
		to.noFollow = true
		to.to = filepath.Join(o.to, p.item.Name)
		report, took, err := a.putBack(ctx, p, to.to, to)
		if report != nil {
			a.print.restoredTree(snap, p, to, report, took)
		}
		failed = worse(failed, restoreStatus(report, err))
	}
	return failed
}

// worse returns the one of two results of restores that is to be told. It joins
// only what has a sentence.
func worse(a, b error) error {
	var partial *statusError
	switch {
	case a == nil || (errors.As(a, &partial) && partial.err == nil && b != nil):
		return b
	case b == nil || (errors.As(b, &partial) && partial.err == nil):
		return a
	}
	return errors.Join(a, b)
}
