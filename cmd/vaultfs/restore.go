package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"time"

	"github.com/spf13/cobra"
	"vaultfs/internal/paths"
	"vaultfs/repo"
	"vaultfs/restore"
	"vaultfs/restore/tree"
)

// restoreOptions are the flags of a restore to files.
type restoreOptions struct {
	to string
	restore.Options
	overwrite   string
	delete, dry bool
	yes         bool
	noFollow    bool // see tree.Options
}

func (a *app) restoreCommand() *cobra.Command {
	var o restoreOptions
	var d defineOptions
	var g pgOptions
	c := &cobra.Command{
		Use:   "restore SNAP[:PATH] --to DEST | SNAP --define | SNAP --to-db NAME",
		Short: "Write a disk, a tree or a whole snapshot to files, or bring a VM or a database back",
		Long:  restoreLong,
		Example: `  vaultfs restore vm/win11:vda --to /var/lib/libvirt/images/win11.qcow2
  vaultfs restore vm/win11@2026-11-21:disks/vda.raw --to /dev/vg0/win11 --force
  vaultfs restore vm/win11 --to /srv/restored
  vaultfs restore tree/etc:ssh --to /tmp/ssh
  vaultfs restore tree/home@2026-11-21:anna --to /home/anna --overwrite if-newer --dry-run
  vaultfs restore tree/www --to /srv/www --overwrite always --delete
  vaultfs restore tree/www --to - --format tar | ssh host tar -xpC /srv/www
  vaultfs restore vzdump/101 --to /var/lib/vz/dump --format vma
  vaultfs restore vm/win11 --define --start
  vaultfs restore vm/win11@2026-11-21 --define --name win11-old --disk-dir /srv/vm
  vaultfs restore pg/db1/orders --to-db orders_restored`,
		Args: exactly(1),
		RunE: func(c *cobra.Command, args []string) error {
			if err := d.check(c); err != nil {
				return err
			}
			if err := g.check(c); err != nil {
				return err
			}
			if err := o.check(c, d.define, g.database != ""); err != nil {
				return err
			}
			if err := a.checkOutput(c, o); err != nil {
				return err
			}
			return a.withRepo(c.Context(), func(r *repo.Repo) error {
				switch {
				case d.define:
					return a.define(c, r, args[0], d)
				case g.database != "":
					return a.restoreToDB(c, r, args[0], g)
				}
				return a.restore(c, r, args[0], o)
			})
		},
		ValidArgsFunction: a.completePaths,
	}
	o.addTo(c)
	d.addTo(c)
	g.addTo(c)
	return c
}

const restoreLong = `Write one file or directory of a snapshot, or all of it, to a place outside the
repository, or, with --define, bring a VM back, or, with --to-db, a database.
Every byte is proved before it is written.

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
With --to - one file goes to standard output; a disk is then raw.

--format vma writes the archive that a snapshot of vzdump was made of, computed
from what is stored, as qmrestore takes it; its name, as "vaultfs ls" lists it, is
a PATH too. --format tar writes a tree, a directory of it or the root file system
of a container as an archive that GNU tar takes back with owners, attributes,
links and holes.

TREES. A tree, or a directory PATH of one, becomes DEST, with its attributes:
"restore tree/etc:ssh --to /tmp/x" makes /tmp/x/sshd_config. Any other PATH of a
tree becomes the file DEST, or keeps its name in the directory DEST. If DEST is a
directory that is not empty, --overwrite says what becomes of a file that exists:
  never     it stays; only what is missing is added
  if-newer  it is replaced if the snapshot's was modified later
  always    it is replaced; --force says the same
Directories get the snapshot's attributes, but not with "never". A directory in
the place of a file gives way if it is empty, or with --delete; a file or a
symbolic link in the place of a directory is replaced as a file would be, and is
never followed.
--delete also removes what the snapshot does not hold, but nothing in other file
systems mounted below DEST. What had been excluded from the backup is not in the
snapshot, so that --delete removes it, too: look with --dry-run first, which
lists everything that would be done and changes nothing.

Run by root, owners, permissions, times to the nanosecond, extended attributes,
access control lists, capabilities, hard links, holes and devices come back
exactly; chattr's flags and times of access are not stored. Other users, and file
systems that lack some of this, get as much as possible; a summary tells what is
missing, and the exit status is 3. An error with one file does not stop the
others. If the restore is interrupted, what is there is whole, and --overwrite
if-newer, or always, goes on. What was restored is on the medium when the command
ends. Of a snapshot that holds a tree beside other files, as that of a container,
each tree becomes a directory of its name in DEST.

With --define the whole VM is made again: its disks in --disk-dir, or else where
they were, if nothing is there now and images belong there (libvirt's folder, a
storage pool, a folder with images of another VM), or else in
/var/lib/libvirt/images; its NVRAM and TPM state; and a domain of libvirt that
has them, with a new UUID and new MAC addresses where another VM has the old
ones. A VM, a file or a device that exists is never touched: if there is a VM of
that name, give another with --name.
If anything goes wrong, what was made is removed again; only a VM that cannot be
started, with --start, stays defined, and the exit status is 3. Libvirt's
snapshots and checkpoints of the VM do not come back.

With --to-db a new PostgreSQL database is made of a dump, and compared with what
was dumped, table by table.`

func (o *restoreOptions) addTo(c *cobra.Command) {
	f := c.Flags()
	f.StringVar(&o.to, "to", "", "where it goes: a file, a directory, a block device, or - (`DEST`)")
	f.StringVar(&o.Format, "format", "", "write disks as qcow2 or raw, a tree as tar, a VMA archive as vma (`FORMAT`)")
	f.BoolVar(&o.Force, "force", false, "replace what exists; write over a block device")
	f.StringVar(&o.overwrite, "overwrite", "", "of a tree: what becomes of files that exist: never, if-newer or always (`WHEN`)")
	f.BoolVar(&o.delete, "delete", false, "of a tree: with --overwrite, remove what the snapshot does not hold")
	f.BoolVarP(&o.dry, "dry-run", "n", false, "of a tree: list what would be done, and change nothing")
	f.BoolVarP(&o.yes, "yes", "y", false, "do not ask before something is restored over the whole system")
	_ = c.RegisterFlagCompletionFunc("to", completeFiles)
	_ = c.RegisterFlagCompletionFunc("format", cobra.FixedCompletions(restoreFormats, noFiles))
	_ = c.RegisterFlagCompletionFunc("overwrite", cobra.FixedCompletions([]string{string(tree.Never), string(tree.IfNewer), string(tree.Always)}, noFiles))
}

// restoreFormats are those that --format takes.
var restoreFormats = []string{restore.QCOW2, restore.Raw, tarFormat, restore.VMA}

// force tells whether an existing file is to be replaced.
func (o *restoreOptions) force() bool { return o.overwrite == string(tree.Always) }

// check refuses flags that make no sense or do not go together.
func (o *restoreOptions) check(c *cobra.Command, define, toDB bool) error {
	if define || toDB {
		other := "--define"
		if toDB {
			other = "--to-db"
		}
		for _, name := range []string{"overwrite", "delete", "dry-run", "yes"} {
			if c.Flags().Changed(name) {
				return usage(c, "%s and --%s exclude each other", other, name)
			}
		}
		return nil
	}
	switch when := tree.Overwrite(o.overwrite); {
	case o.to == "":
		return usage(c, "where to? give --to DEST, or --define to bring a VM back, or --to-db to bring a database back")
	case o.Format != "" && !slices.Contains(restoreFormats, o.Format):
		return usage(c, "--format %q: want qcow2 or raw for disks, tar for trees, vma for archives of VMs", o.Format)
	case c.Flags().Changed("overwrite") && when != tree.Never && when != tree.IfNewer && when != tree.Always:
		return usage(c, "--overwrite %q: want never, if-newer or always", o.overwrite)
	case o.Force && o.overwrite != "" && when != tree.Always:
		return usage(c, "--force means --overwrite always: leave one of them out")
	case o.Force:
		o.overwrite = string(tree.Always)
	}
	if o.delete && (o.overwrite == "" || o.overwrite == string(tree.Never)) {
		return usage(c, "--delete needs --overwrite if-newer or always")
	}
	return nil
}

func (a *app) restore(c *cobra.Command, r *repo.Repo, arg string, o restoreOptions) error {
	ctx := c.Context()
	if o.to != standardOutput {
		if err := a.outside(o.to); err != nil {
			return err
		}
	}
	snap, path, err := resolvePath(ctx, r, arg)
	if err != nil {
		return err
	}
	release, err := restore.Pin(ctx, r, snap)
	if err != nil {
		return err
	}
	defer release()
	if o.Format == tarFormat {
		p, err := tarPlace(ctx, r, snap, path)
		if err != nil {
			return err
		}
		return a.restoreTar(c, snap, p, o)
	}
	place, err := findInTree(ctx, r, snap, path)
	switch {
	case err != nil:
		return err
	case place != nil && o.Format != "":
		return usage(c, "--format %s is not for trees, and %s is of one", o.Format, place.named())
	case place != nil && o.to == standardOutput:
		return a.restoreTreeStream(c, place)
	case place != nil:
		return a.restoreTree(c, snap, place, o)
	case o.delete || o.dry || (o.overwrite != "" && !o.force()):
		return usage(c, "--overwrite, --delete and --dry-run are for trees, and %s names none: an existing file is replaced with --force", arg)
	}
	return a.restoreOther(c, r, snap, path, o)
}

// restoreOther restores what is not in a tree.
func (a *app) restoreOther(c *cobra.Command, r *repo.Repo, snap *repo.Snapshot, path string, o restoreOptions) error {
	archive, err := isArchive(c.Context(), r, snap, path)
	switch {
	case err != nil:
		return err
	case archive && o.Format != "" && o.Format != restore.VMA:
		return usage(c, "%q is a VMA archive: leave out --format %s", path, o.Format)
	case o.Format == restore.VMA && path != "" && !archive:
		return usage(c, "--format vma is for a whole snapshot: leave out the path %q", path)
	case archive || o.Format == restore.VMA:
		return a.restoreArchive(c.Context(), r, snap, o)
	case o.to == standardOutput:
		return a.restoreStream(c, r, snap, path, o)
	}
	o.Force = o.force()
	if path == "" && holdsTrees(snap) {
		return a.restoreMixed(c, r, snap, o)
	}
	return a.restoreFiles(c.Context(), r, snap, path, o)
}

// restoreFiles restores an item that is no tree, or all of a snapshot that
// holds none.
func (a *app) restoreFiles(ctx context.Context, r *repo.Repo, snap *repo.Snapshot, path string, o restoreOptions) (err error) {
	a.onInterrupt = "; what was not written wholly was removed"
	begin := time.Now()
	o.Progress = new(restore.Progress)
	stop := a.restoring(o.Progress)
	var written []*restore.Written
	if path == "" {
		written, err = restore.All(ctx, r, snap, o.to, o.Options)
	} else {
		written, err = a.restoreItem(ctx, r, snap, path, o.to, o.Options)
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
