package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"
	"vaultfs/repo"
	"vaultfs/restore"
	"vaultfs/restore/tar"
)

// standardOutput is the destination that means it.
const standardOutput = "-"

// tarFormat is the format of a tree in one file.
const tarFormat = "tar"

// checkOutput refuses to write data where it does harm.
func (a *app) checkOutput(c *cobra.Command, o restoreOptions) error {
	if o.to != standardOutput {
		return nil
	}
	for _, name := range []string{"force", "overwrite", "delete", "dry-run"} {
		if c.Flags().Changed(name) {
			return usage(c, "--to - writes to standard output: leave out --%s", name)
		}
	}
	if a.print.json {
		return usage(c, "--to - and --json exclude each other: standard output gets the data")
	}
	if f, ok := a.print.out.(*os.File); ok && term.IsTerminal(int(f.Fd())) {
		return usage(c, "--to - writes data to standard output, which is a terminal: redirect it")
	}
	return nil
}

// restoreStream writes one file of a snapshot to standard output.
func (a *app) restoreStream(c *cobra.Command, r *repo.Repo, snap *repo.Snapshot, path string, o restoreOptions) error {
	a.onInterrupt = "; what was written is incomplete"
	name := path
	if name == "" {
		if len(snap.Items) != 1 {
			return usage(c, "snapshot %s holds several files: name the one that is to go to standard output, or give --format tar or vma where that can be", snap.Short())
		}
		name = snap.Items[0].Name
	}
	it, suggested, err := findItem(snap, name)
	if err != nil {
		return err
	}
	if o.Format == "" {
		o.Format = suggested
	}
	o.Progress = new(restore.Progress)
	defer a.restoring(o.Progress)()
	_, err = restore.StreamItem(c.Context(), r, snap, it, a.print.out, o.Options)
	return err
}

// restoreTreeStream writes one file of a tree to standard output.
func (a *app) restoreTreeStream(c *cobra.Command, p *treePlace) error {
	a.onInterrupt = "; what was written is incomplete"
	if !p.entry.IsRegular() {
		return usage(c, "%s is no regular file: only that can be written to standard output as it is; a directory can with --format tar", p.named())
	}
	f, err := p.tree.Open(c.Context(), p.entry)
	if err != nil {
		return err
	}
	progress := new(restore.Progress)
	progress.Total.Store(f.Size())
	defer a.restoring(progress)()
	buf := make([]byte, 1<<20)
	for off := int64(0); off < f.Size(); {
		if err := c.Context().Err(); err != nil {
			return err
		}
		n, err := f.ReadAt(buf[:min(int64(len(buf)), f.Size()-off)], off)
		if err == io.EOF {
			err = nil
		}
		if err == nil {
			_, err = a.print.out.Write(buf[:n])
		}
		if err != nil {
			return fmt.Errorf("%s: %w; what was written is incomplete: %d of %d bytes", p.named(), err, off, f.Size())
		}
		off += int64(n)
		progress.Done.Add(int64(n))
	}
	return nil
}

// restoreTar writes a directory of a tree as an archive, to a file or to standard
// output.
func (a *app) restoreTar(c *cobra.Command, snap *repo.Snapshot, p *treePlace, o restoreOptions) error {
	ctx := c.Context()
	a.onInterrupt = "; no archive was made"
	switch {
	case !p.entry.IsDir():
		return usage(c, "--format tar is for directories, and %s is none", p.named())
	case o.delete || o.dry || (o.overwrite != "" && !o.force()):
		return usage(c, "--format tar makes one file, which --force replaces: leave out --overwrite, --delete and --dry-run")
	}
	begin := time.Now()
	progress := new(restore.Progress)
	var report *tar.Report
	write := func(w io.Writer) (err error) {
		stop := a.restoring(progress)
		defer stop()
		report, err = tar.Write(ctx, p.tree, p.entry, w, tar.Options{Progress: progress})
		return err
	}
	var err error
	dest := o.to
	if dest == standardOutput {
		a.onInterrupt = "; the archive that was written is incomplete"
		err = write(a.print.out)
	} else {
		if info, err := os.Stat(dest); err == nil && info.IsDir() {
			dest = filepath.Join(dest, p.archiveName(snap))
		}
		err = restore.Create(ctx, dest, o.force(), write)
	}
	if err != nil {
		return err
	}
	return a.wroteTar(snap, dest, report, time.Since(begin))
}

// wroteTar tells of an archive.
func (a *app) wroteTar(snap *repo.Snapshot, dest string, report *tar.Report, took time.Duration) error {
	for _, w := range report.Warnings {
		a.print.warn(w)
	}
	if dest != standardOutput {
		a.print.restored(snap, []*restore.Written{{Path: dest, Format: tarFormat, Size: report.Bytes, Data: report.Bytes}}, took)
	}
	if len(report.Warnings) > 0 {
		return &statusError{statusPartial, nil}
	}
	return nil
}

// archiveName is the name of an archive of the place in a directory.
func (p *treePlace) archiveName(snap *repo.Snapshot) string {
	name := p.entry.Name
	if name == "" {
		name = path.Base(snap.Source)
	}
	return strings.TrimLeft(name, ".") + ".tar"
}

// tarPlace is the tree that a path leads into, or the only tree of a snapshot.
func tarPlace(ctx context.Context, r *repo.Repo, snap *repo.Snapshot, path string) (*treePlace, error) {
	p, err := findInTree(ctx, r, snap, path)
	if err != nil || p != nil {
		return p, err
	}
	var tree string
	for _, it := range snap.Items {
		if it.Kind == repo.ItemTree && tree != "" {
			return nil, fmt.Errorf("snapshot %s holds several trees: name one of them", snap.Short())
		} else if it.Kind == repo.ItemTree {
			tree = it.Name
		}
	}
	if tree == "" || path != "" {
		return nil, errors.New("--format tar is for trees, and none is named")
	}
	return findInTree(ctx, r, snap, tree)
}

// restoreArchive restores the VMA archive that a snapshot was made of.
func (a *app) restoreArchive(ctx context.Context, r *repo.Repo, snap *repo.Snapshot, o restoreOptions) error {
	begin := time.Now()
	o.Progress = new(restore.Progress)
	o.Format, o.Force = "", o.force()
	stop := a.restoring(o.Progress)
	if o.to == standardOutput {
		a.onInterrupt = "; the archive that was written is incomplete"
		_, err := restore.StreamArchive(ctx, r, snap, a.print.out, o.Options)
		stop()
		return err
	}
	a.onInterrupt = "; what was not written wholly was removed"
	written, err := restore.WriteArchive(ctx, r, snap, o.to, o.Options)
	stop()
	if err != nil {
		return err
	}
	a.print.restored(snap, []*restore.Written{written}, time.Since(begin))
	return nil
}

// isArchive tells whether a path of a snapshot is that of the archive that it was
// made of, which no item is.
func isArchive(ctx context.Context, r *repo.Repo, snap *repo.Snapshot, path string) (bool, error) {
	if !strings.HasSuffix(path, "."+restore.VMA) || snap.Item(path) != nil {
		return false, nil
	}
	name, err := restore.ArchiveName(ctx, r, snap)
	return name != "" && name == strings.Trim(path, "/"), err
}
