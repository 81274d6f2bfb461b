package main

import (
	"context"

	"github.com/spf13/cobra"
	"vaultfs/ingest"
	"vaultfs/ingest/tar"
	"vaultfs/repo"
)

func (a *app) ingestTarCommand() *cobra.Command {
	var common ingestOptions
	var o tar.Options
	c := &cobra.Command{
		Use:   "tar FILE…",
		Short: "Back up tar archives as trees",
		Long: `Back up tar archives, plain or compressed with zstd, gzip or lzop, each as a
snapshot of the source tar/FILE, without the suffix; --name gives the source of
one archive another name. FILE may be - for an archive from standard input, which
needs --name. An archive called docker-vol-CONTAINER-VOLUME-DATE.tar.gz becomes a
snapshot of docker-vol/CONTAINER-VOLUME with that time (2026-11-21,
2026-11-21_183000, 20261121).

What is stored is the tree, file by file, as "ingest tree" would store it, so that
files which are in the repository already cost nothing. Kept are owners (their
numbers), modes, times, extended attributes, ACLs, hard links, holes, devices and
fifos. The archive itself, byte by byte, is not kept.

The tree is what tar would extract as root: of several members of one path the
last counts, and names that begin with / begin in the tree. A name with .. in it
is left out, and no symbolic link is followed; a member below one takes its place.
For these and other members that are not as in the archive there is a warning, and
the exit status is 3.

An archive that is cut off, or has no end mark, or is damaged fails, and so does
one that changes while it is read.`,
		Example: `  vaultfs ingest tar /backup/www.tar.zst
  vaultfs ingest tar /backup/docker-vol-*.tar.gz
  ssh host tar -C /srv -c --acls --xattrs . | vaultfs ingest tar --name srv -`,
		Args: atLeast(1),
		RunE: func(c *cobra.Command, args []string) error {
			return a.withRepo(c.Context(), func(r *repo.Repo) error {
				o.Name, o.Adopt, o.Verify, o.Tags = common.name, common.adopt, !common.noVerify, common.tags
				return a.ingestTar(c.Context(), r, &common, args, o)
			})
		},
		ValidArgsFunction: completeFiles,
	}
	c.Flags().StringVar(&common.name, "name", "", "make a snapshot of the source tar/`NAME`")
	common.addTo(c)
	return c
}

func (a *app) ingestTar(ctx context.Context, r *repo.Repo, common *ingestOptions, files []string, o tar.Options) error {
	o.Program, o.Stdin = program(), a.stdin
	o.Progress = new(ingest.Progress)
	stop := a.ingesting(o.Progress)
	snapshots, err := tar.Ingest(ctx, r, files, o)
	stop()
	var made []outcome
	for _, m := range snapshots {
		made = append(made, outcome{snapshot: m.Snapshot, warnings: m.Warnings})
	}
	return a.ingested(ctx, r, common, made, wrong(err, tar.ErrUsage))
}
