package main

import (
	"context"
	"os"
	"path/filepath"
	"runtime/debug"

	"github.com/spf13/cobra"
	"vaultfs/fusefs"
	"vaultfs/repo"
)

// mountOptions are the flags of mount.
type mountOptions struct {
	foreground, allowOther bool
	log                    string
	detached               bool // this is the process in the background
}

func (a *app) mountCommand() *cobra.Command {
	var o mountOptions
	c := &cobra.Command{
		Use:   "mount DIR",
		Short: "Show all snapshots as files",
		Long: `Show all snapshots as read-only files in the empty directory DIR:

  DIR/vm/win11/2026-11-21T18-00-00Z/disks/vda.qcow2  vda.raw
                                    domain.xml
  DIR/vm/win11/latest -> 2026-11-21T18-00-00Z

Every disk is there as qcow2 and as raw. QEMU can boot from the qcow2 through an
overlay or with -snapshot; cp makes a file of its own of it. New snapshots
appear while it is mounted. Nothing can be changed, and what is read has been
proved; where the repository is damaged a read fails with an input/output error.

Snapshots that are forgotten disappear from it. What of one is open can be read
on, and "vaultfs gc" frees its space soon after all of it has been closed. Ingests
and gc go on beside a mount.

The mount goes on in the background until "vaultfs umount DIR", or until it gets
a SIGTERM. What goes wrong there, such as damage that is come across, goes to
the system's log, or to the file that --log names.

Of a backed up tree everything is as it was in the source: owners, modes, times,
hard links, holes, extended attributes, access control lists and names. A VMA
archive is there itself, computed, and with the disks that it holds.

Only who mounts it can see it, and all of it. --allow-other lets other users read
the disks too, such as the one that QEMU runs as; definitions, NVRAM and TPM state
stay for the owner alone, and in trees the modes and access control lists decide.`,
		Example: `  vaultfs mount /mnt/vault
  qemu-img create -f qcow2 -F qcow2 -b /mnt/vault/vm/win11/latest/disks/vda.qcow2 try.qcow2
  vaultfs umount /mnt/vault`,
		Args: exactly(1),
		RunE: func(c *cobra.Command, args []string) error {
			dir, err := filepath.Abs(args[0])
			if err != nil {
				return err
			}
			switch {
			case o.detached:
				return a.mountDetached(c.Context(), dir, o)
			case o.foreground:
				return a.mountHere(c.Context(), dir, o, nil)
			}
			return a.mountInBackground(c.Context(), dir, o)
		},
		ValidArgsFunction: completeDirs,
	}
	f := c.Flags()
	f.BoolVarP(&o.foreground, "foreground", "f", false, "stay until it is unmounted, or Ctrl-C")
	f.BoolVar(&o.allowOther, "allow-other", false, "let other users read it")
	f.StringVar(&o.log, "log", "", "write what goes wrong to `FILE` (default: the system's log, or standard error with --foreground)")
	f.BoolVar(&o.detached, "detached", false, "")
	_ = f.MarkHidden("detached")
	_ = c.MarkFlagFilename("log")
	return c
}

// mountGarbage is how much garbage may pile up before it is collected, in percent of
// what is in use. Reading makes little, so collecting it early costs next to nothing
// and keeps the memory of a mount near that of its cache.
const mountGarbage = 25

// mountHere mounts, tells ready, and returns when the tree has been unmounted.
func (a *app) mountHere(ctx context.Context, dir string, o mountOptions, ready func()) error {
	log, err := openLog(a, o)
	if err != nil {
		return err
	}
	defer debug.SetGCPercent(debug.SetGCPercent(mountGarbage))
	return a.withRepo(ctx, func(r *repo.Repo) error {
		server, err := fusefs.Mount(ctx, fusefs.FromRepo(r), dir, fusefs.Options{AllowOther: o.allowOther, Exclude: a.repoPath, Log: log})
		if err != nil {
			return err
		}
		if ready == nil {
			ready = func() { a.print.mounted(a.repoPath, dir, os.Getpid()) }
		}
		ready()
		defer context.AfterFunc(ctx, func() { endMount(server, dir, log) })()
		server.Wait()
		return nil
	})
}

// endMount takes the mount away on a signal. Files that are open keep it alive
// out of sight; a second signal ends it all the same.
func endMount(server *fusefs.Server, dir string, log func(string)) {
	err := server.Unmount()
	if err == nil {
		return
	}
	log(err.Error() + "; it is unmounted now and ends when they are closed")
	if err := fusefs.Unmount(dir, true); err != nil {
		log(err.Error())
	}
}
