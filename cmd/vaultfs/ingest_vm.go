package main

import (
	"context"
	"errors"

	"github.com/spf13/cobra"
	"vaultfs/ingest"
	"vaultfs/ingest/vm"
	"vaultfs/repo"
)

func (a *app) ingestVMCommand() *cobra.Command {
	var common ingestOptions
	var o vm.Options
	c := &cobra.Command{
		Use:   "vm NAME…",
		Short: "Back up virtual machines of libvirt",
		Long: `Back up virtual machines of libvirt, each as a snapshot of the source vm/NAME:
its disks, and its definition as domain.xml.

A running VM is read live: it goes on while libvirt's backup job shows its disks
as they were at one moment. If a guest agent answers, the guest's filesystems
are frozen around that moment, so that they are in good order; without one the
backup is what a power failure would have left. A VM that is shut off is read
offline. Whatever happens, Ctrl-C included, the VM ends in the state it was
found in.

CD-ROMs, empty drives and disks that cannot be backed up are left out, and said
to be. Exit status 3 means that there is a snapshot, but something did not work
as it should, such as a freeze that failed.`,
		Example: `  vaultfs ingest vm win11
  vaultfs ingest vm web db mail
  vaultfs ingest vm win11 --mode offline`,
		Args: atLeast(1),
		RunE: func(c *cobra.Command, args []string) error {
			if common.name != "" && len(args) > 1 {
				return usage(c, "--name is for one VM, and there are %d", len(args))
			}
			return a.withRepo(c.Context(), func(r *repo.Repo) error {
				o.Name, o.Adopt, o.Verify, o.Program = common.name, common.adopt, !common.noVerify, program()
				return a.ingestVMs(c.Context(), r, args, o)
			})
		},
		ValidArgsFunction: completeVMs(&o.Connect),
	}
	f := c.Flags()
	f.StringVar(&o.Mode, "mode", vm.ModeAuto, "auto, live or offline: auto is live if the VM runs, else offline (`MODE`)")
	f.StringVar(&o.Connect, "connect", "", "the libvirt `URI`, such as qemu:///system")
	f.BoolVar(&o.NoQuiesce, "no-quiesce", false, "do not ask the guest agent to freeze the filesystems")
	f.StringVar(&o.ScratchDir, "scratch-dir", "", "`DIR` for what the guest overwrites during a live backup; QEMU must be able to write there")
	f.StringVar(&common.name, "name", "", "make the source vm/`NAME` instead of one of the VM's own name")
	common.addTo(c)
	_ = c.RegisterFlagCompletionFunc("mode", cobra.FixedCompletions(
		[]string{vm.ModeAuto, vm.ModeLive, vm.ModeOffline}, cobra.ShellCompDirectiveNoFileComp))
	_ = c.MarkFlagDirname("scratch-dir")
	return c
}

// ingestVMs backs up one VM after the other. One that fails does not keep the
// others from being backed up.
func (a *app) ingestVMs(ctx context.Context, r *repo.Repo, names []string, o vm.Options) error {
	var made []outcome
	var failed []error
	for _, name := range names {
		result, err := a.ingestVM(ctx, r, name, o)
		if err != nil {
			failed = append(failed, err)
			if ctx.Err() != nil {
				break
			}
			continue
		}
		made = append(made, outcome{
			snapshot: result.Snapshot, quiesced: result.Quiesced, frozen: result.Frozen.Seconds(), warnings: result.Warnings,
		})
	}
	return a.ingested(made, wrong(errors.Join(failed...), vm.ErrUsage))
}

func (a *app) ingestVM(ctx context.Context, r *repo.Repo, name string, o vm.Options) (*vm.Result, error) {
	o.Progress = new(ingest.Progress)
	defer a.ingesting(o.Progress)()
	return vm.Ingest(ctx, r, name, o)
}
