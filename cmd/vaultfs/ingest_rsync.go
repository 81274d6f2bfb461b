package main

import (
	"context"

	"github.com/spf13/cobra"
	"vaultfs/ingest"
	"vaultfs/ingest/rsync"
	"vaultfs/repo"
)

func (a *app) ingestRsyncCommand() *cobra.Command {
	var common ingestOptions
	var o rsync.Options
	c := &cobra.Command{
		Use:   "rsync [USER@]HOST:DIR|DIR --name NAME",
		Short: "Back up a directory of another host with rsync",
		Long: `Back up a directory of another host, or of this one, as a snapshot of the source
rsync/NAME. rsync copies what is in it to a mirror on this host, with
  rsync -aHAXS --numeric-ids --delete --partial
and what has changed in the mirror is stored. The other host needs rsync and
nothing else. The source is written as rsync takes it; its contents are meant,
with or without a slash at the end.

The mirror stays, so that the next run copies only what has changed: it is a
second copy of the directory, which takes as much room on this host as the
directory does on its own. It lies in /var/lib/vaultfs/mirrors/NAME (in
VAULTFS_STATE_DIR/mirrors, if that is set) and may be removed at any time; the
next run makes it anew. Only root can keep all owners, devices and attributes.

The pattern of --exclude is one of rsync's own; what is excluded is removed from
the mirror as well.

If rsync could not copy some files (its codes 23 and 24) the snapshot is made
without them, or with their older copies in the mirror, each is named, and the
exit status is 3. If rsync fails there is no snapshot.`,
		Example: `  vaultfs ingest rsync root@web:/srv --name web-srv
  vaultfs ingest rsync backup@nas:/volume1/photos --name photos --rsh 'ssh -p 2222'
  vaultfs ingest rsync root@web:/ --name web --rsync-option=--one-file-system`,
		Args: exactly(1),
		RunE: func(c *cobra.Command, args []string) error {
			return a.withRepo(c.Context(), func(r *repo.Repo) error {
				o.Name, o.Adopt, o.Verify, o.Tags = common.name, common.adopt, !common.noVerify, common.tags
				return a.ingestRsync(c.Context(), r, &common, args[0], o)
			})
		},
		ValidArgsFunction: completeDirs,
	}
	f := c.Flags()
	f.StringVar(&common.name, "name", "", "the source is rsync/`NAME`, and the mirror is called that")
	f.StringVar(&o.Shell, "rsh", "", "reach the other host with `COMMAND`, such as 'ssh -p 2222'")
	f.StringArrayVar(&o.Exclude, "exclude", nil, "leave out what matches rsync's `PATTERN`; may be repeated")
	f.StringArrayVar(&o.Extra, "rsync-option", nil, "give `OPTION` to rsync as well, such as --bwlimit=10M; may be repeated")
	common.addTo(c)
	for _, flag := range []string{"rsh", "exclude", "rsync-option"} {
		_ = c.RegisterFlagCompletionFunc(flag, cobra.NoFileCompletions)
	}
	return c
}

func (a *app) ingestRsync(ctx context.Context, r *repo.Repo, common *ingestOptions, source string, o rsync.Options) error {
	o.Program, o.Warn = program(), a.print.warn
	o.Progress = new(ingest.Progress)
	stop := a.ingesting(o.Progress)
	made, err := rsync.Ingest(ctx, r, source, o)
	stop()
	return a.ingested(ctx, r, common, treeOutcomes(made), wrong(err, rsync.ErrUsage))
}
