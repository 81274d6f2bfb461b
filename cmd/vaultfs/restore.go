package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"
	"vaultfs/internal/paths"
	"vaultfs/repo"
	"vaultfs/restore"
)

func (a *app) restoreCommand() *cobra.Command {
	var to string
	var o restore.Options
	var d defineOptions
	c := &cobra.Command{
		Use:   "restore SNAP[:PATH] --to DEST | SNAP --define",
		Short: "Write a disk or a whole snapshot to files, or bring a VM back",
		Long: `Write one file of a snapshot, or all of it, to a place outside the repository,
or, with --define, bring a VM back. Every byte is proved before it is written.

PATH is a file as "vaultfs ls" lists it: disks/vda.qcow2, domain.xml. A disk's
bare name will do: vda. DEST is then a file to be made, or a directory that
there is. Whether a disk is written as qcow2 or raw is said by --format, or by
DEST's suffix (.qcow2, .raw, .img), or by PATH's; else it is qcow2.

Without PATH everything is written below the directory DEST, which is made or is
empty: the disks in disks/, and the other files beside.

A file appears under its name only when it is whole; before, and if anything
goes wrong, DEST does not change. What exists is replaced with --force only.
DEST may also be a block device: then --force is needed, the disk is written
raw over what the device held, and an interruption leaves it half written.

With --define the whole VM is made again: its disks in --disk-dir, or else where
they were, if nothing is there now and images belong there (libvirt's folder, a
storage pool, a folder with images of another VM), or else in
/var/lib/libvirt/images; its NVRAM and TPM state; and a domain of libvirt that
has them, with a new UUID and new MAC addresses where another VM has the old
ones. A VM, a file or a device that exists is never touched: if there is a VM of
that name, give another with --name.
If anything goes wrong, what was made is removed again; only a VM that cannot be
started, with --start, stays defined, and the exit status is 3. Libvirt's
snapshots and checkpoints of the VM do not come back.`,
		Example: `  vaultfs restore vm/win11:vda --to /var/lib/libvirt/images/win11.qcow2
  vaultfs restore vm/win11@2026-11-21:disks/vda.raw --to /dev/vg0/win11 --force
  vaultfs restore vm/win11 --to /srv/restored
  vaultfs restore vm/win11 --define --start
  vaultfs restore vm/win11@2026-11-21 --define --name win11-old --disk-dir /srv/vm`,
		Args: exactly(1),
		RunE: func(c *cobra.Command, args []string) error {
			if err := d.check(c); err != nil {
				return err
			}
			switch {
			case d.define:
				return a.withRepo(c.Context(), func(r *repo.Repo) error { return a.define(c, r, args[0], d) })
			case to == "":
				return usage(c, "where to? give --to DEST, or --define to bring a VM back")
			case o.Format != "" && o.Format != restore.QCOW2 && o.Format != restore.Raw:
				return usage(c, "--format %q: want qcow2 or raw", o.Format)
			}
			return a.withRepo(c.Context(), func(r *repo.Repo) error { return a.restore(c.Context(), r, args[0], to, o) })
		},
		ValidArgsFunction: a.completePaths,
	}
	c.Flags().StringVar(&to, "to", "", "where it goes: a file, a directory or a block device (`DEST`)")
	c.Flags().StringVar(&o.Format, "format", "", "write disks as qcow2 or raw (`FORMAT`)")
	c.Flags().BoolVar(&o.Force, "force", false, "replace what exists; write over a block device")
	d.addTo(c)
	_ = c.RegisterFlagCompletionFunc("to", completeFiles)
	_ = c.RegisterFlagCompletionFunc("format", cobra.FixedCompletions([]string{restore.QCOW2, restore.Raw}, cobra.ShellCompDirectiveNoFileComp))
	return c
}

func (a *app) restore(ctx context.Context, r *repo.Repo, arg, to string, o restore.Options) error {
	a.onInterrupt = "; what was not written wholly was removed"
	if err := a.outside(to); err != nil {
		return err
	}
	snap, path, err := resolvePath(ctx, r, arg)
	if err != nil {
		return err
	}
	begin := time.Now()
	o.Progress = new(restore.Progress)
	stop := a.restoring(o.Progress)
	var written []*restore.Written
	if path == "" {
		written, err = restore.All(ctx, r, snap, to, o)
	} else {
		written, err = a.restoreItem(ctx, r, snap, path, to, o)
	}
	stop()
	if err != nil {
		a.print.kept(written)
		return err
	}
	a.print.restored(snap, written, time.Since(begin))
	return nil
}

// restoring shows the progress until stop is called.
func (a *app) restoring(p *restore.Progress) (stop func()) {
	return a.watch(func() state {
		s := state{phase: "writing", done: p.Done.Load(), total: p.Total.Load()}
		if s.total > 0 && s.done >= s.total {
			s.phase = "making durable"
		}
		return s
	})
}

func (a *app) restoreItem(ctx context.Context, r *repo.Repo, snap *repo.Snapshot, path, to string, o restore.Options) ([]*restore.Written, error) {
	it, suggested, err := findItem(snap, path)
	if err != nil {
		return nil, err
	}
	o.Suggest = suggested
	w, err := restore.Item(ctx, r, snap, it, to, o)
	if err != nil {
		return nil, err
	}
	return []*restore.Written{w}, nil
}

// outside refuses a destination in the repository's own directory. Of a path
// that does not exist yet the directory above is looked at.
func (a *app) outside(to string) error {
	inside, err := paths.Real(a.repoPath)
	if err != nil {
		return err
	}
	place, err := paths.Real(to)
	if errors.Is(err, fs.ErrNotExist) {
		place, err = paths.Real(filepath.Dir(filepath.Clean(to)))
	}
	if err != nil {
		return nil // what is wrong with it is said by who writes there
	}
	if paths.Inside(inside, place) {
		return fmt.Errorf("%s lies inside the repository %s: choose another place", to, a.repoPath)
	}
	return nil
}
