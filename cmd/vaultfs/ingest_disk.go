package main

import (
	"context"

	"github.com/spf13/cobra"
	"vaultfs/ingest"
	"vaultfs/ingest/disk"
	"vaultfs/repo"
)

func (a *app) ingestDiskCommand() *cobra.Command {
	var common ingestOptions
	var o disk.Options
	c := &cobra.Command{
		Use:   "disk FILE…",
		Short: "Back up disk images",
		Long: `Back up disk images: qcow2, raw, vmdk, vdi, vhdx, vpc, and block devices. Each
becomes a snapshot of the source disk/FILE, without the suffix; with --name all
become the disks of one snapshot of disk/NAME. FILE may be - for a raw disk from
standard input, which needs --name.

What is stored is what a guest would see on the disk, so the same content costs
nothing in another format. Holes are not read.

Images are not trusted. The format is what --format says, or the name and the
file's header must agree on it; a raw disk stays raw whatever its guest wrote to
its beginning. Backing files and extents must lie beside the image unless
--allow-backing is given. An image that changes while it is read, or that a
running VM has open, fails: use "ingest vm" for those.`,
		Example: `  vaultfs ingest disk /var/lib/libvirt/images/debian.qcow2
  vaultfs ingest disk --name web /srv/web-root.raw /srv/web-data.vmdk
  ssh host cat /dev/vg0/db | vaultfs ingest disk --name db -`,
		Args: atLeast(1),
		RunE: func(c *cobra.Command, args []string) error {
			return a.withRepo(c.Context(), func(r *repo.Repo) error {
				o.Name, o.Adopt, o.Verify, o.Tags = common.name, common.adopt, !common.noVerify, common.tags
				return a.ingestDisk(c.Context(), r, &common, args, o)
			})
		},
		ValidArgsFunction: completeFiles,
	}
	c.Flags().StringVar(&common.name, "name", "", "make one snapshot of the source disk/`NAME`")
	c.Flags().StringVar(&o.Format, "format", "", "what `FORMAT` the images have: qcow2, raw, vmdk, vdi, vhdx, vpc, qcow")
	c.Flags().BoolVar(&o.AllowBacking, "allow-backing", false, "backing files and extents may lie anywhere")
	common.addTo(c)
	_ = c.RegisterFlagCompletionFunc("format", cobra.FixedCompletions(
		[]string{"qcow2", "raw", "vmdk", "vdi", "vhdx", "vpc", "qcow"}, cobra.ShellCompDirectiveNoFileComp))
	return c
}

func (a *app) ingestDisk(ctx context.Context, r *repo.Repo, common *ingestOptions, files []string, o disk.Options) error {
	o.Program, o.Stdin, o.Warn = program(), a.stdin, a.print.warn
	o.Progress = new(ingest.Progress)
	stop := a.ingesting(o.Progress)
	snapshots, err := disk.Ingest(ctx, r, files, o)
	stop()
	var made []outcome
	for _, s := range snapshots {
		made = append(made, outcome{snapshot: s})
	}
	return a.ingested(ctx, r, common, made, wrong(err, disk.ErrUsage))
}
