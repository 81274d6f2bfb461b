package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
	"vaultfs/ingest"
	"vaultfs/ingest/vm"
	"vaultfs/repo"
)

// modeSnapshot is the mode in which nothing is copied.
const modeSnapshot = "snapshot"

// vmFlags are the flags of ingest vm.
type vmFlags struct {
	ingestOptions
	vm.Options
	all, yes bool
	audit    string
}

func (a *app) ingestVMCommand() *cobra.Command {
	var o vmFlags
	c := &cobra.Command{
		Use:   "vm NAME… | --all",
		Short: "Back up virtual machines of libvirt",
		Long: `Back up virtual machines of libvirt, each as a snapshot of the source vm/NAME:
its disks, and all else that makes the VM: its definition, firmware variables
(NVRAM), TPM state, and a report.

--mode says when a VM is read:
  auto      live if it runs, else offline
  live      while it runs
  offline   while it is shut off; one that runs is shut down for it (by its
            guest agent, else by ACPI) if --yes is given or you say so, and
            started again as soon as its disks are read
  snapshot  not at all: libvirt makes a snapshot of it where it lies, which is
            no backup; "vaultfs vm snapshots" lists these

A running VM goes on while it is read. If a guest agent answers, the guest's
filesystems are frozen for the moment that the backup is of, so that they are in
good order; without one the backup is what a power failure would have left.
--method says how it is read: backup is libvirt's backup job; snapshot, for
guests or hosts that have no such job, puts an overlay over each disk, reads the
images below and merges the overlays back.

Only what has changed since the last backup is read, if libvirt and the images
(qcow2) can tell: a checkpoint is left in the VM for that. Each disk of which
that cannot be told is read as a whole; the report says why. --audit reads
a share of the rest again and compares it (but not the direct neighbours of what
has changed); what is found to be different makes everything be read. QEMU does
not go back to an internal snapshot while there is a checkpoint: a VM that has
one gets none, and loses the one it has, when it is next backed up live.

Whatever happens, Ctrl-C included, the VM ends in the state it was found in.
After kill -9 or a power failure the next run, or "vaultfs recover", sees to
that. CD-ROMs, empty drives and disks that cannot be backed up are left out, and
said to be. Exit status 3 means that there is a snapshot, but something did not
work as it should, such as a freeze that failed; with several VMs also that one
of them was not backed up.`,
		Example: `  vaultfs ingest vm win11
  vaultfs ingest vm web db mail
  vaultfs ingest vm --all
  vaultfs ingest vm win11 --full --audit 5%
  vaultfs ingest vm win11 --mode offline --yes --shutdown-timeout 10m`,
		Args: func(c *cobra.Command, args []string) error {
			if o.all {
				return exactly(0)(c, args)
			}
			return atLeast(1)(c, args)
		},
		RunE:              func(c *cobra.Command, args []string) error { return a.runIngestVM(c, args, &o) },
		ValidArgsFunction: completeVMs(&o.Connect),
	}
	o.addFlags(c)
	return c
}

func (o *vmFlags) addFlags(c *cobra.Command) {
	modes := []string{vm.ModeAuto, vm.ModeLive, vm.ModeOffline, modeSnapshot}
	methods := []string{vm.MethodBackup, vm.MethodSnapshot}
	f := c.Flags()
	f.BoolVar(&o.all, "all", false, "back up every VM of the host, one after the other")
	f.StringVar(&o.Mode, "mode", vm.ModeAuto, "when it is read: "+strings.Join(modes, ", ")+" (`MODE`)")
	f.StringVar(&o.Method, "method", vm.MethodBackup, "how a running VM is read: "+strings.Join(methods, ", ")+" (`METHOD`)")
	f.BoolVarP(&o.yes, "yes", "y", false, "do not ask before a running VM is shut down")
	f.DurationVar(&o.ShutdownTimeout, "shutdown-timeout", vm.DefaultShutdownTimeout, "how long a VM may take to shut down (`TIME`)")
	f.BoolVar(&o.Full, "full", false, "read everything, whatever has changed")
	f.BoolVar(&o.NoCheckpoint, "no-checkpoint", false, "leave no checkpoint in the VM; the next backup reads everything")
	f.StringVar(&o.audit, "audit", "", "read `P%` of what is said not to have changed, and compare it (default about 4 MiB of each disk)")
	f.StringVar(&o.Connect, "connect", "", "the libvirt `URI`, such as qemu:///system")
	f.BoolVar(&o.NoQuiesce, "no-quiesce", false, "do not ask the guest agent to freeze the filesystems")
	f.StringVar(&o.ScratchDir, "scratch-dir", "", "`DIR` for what the guest overwrites during a live backup; QEMU must be able to write there")
	f.StringVar(&o.name, "name", "", "make the source vm/`NAME` instead of one of the VM's own name; with --mode snapshot, the snapshot's name")
	o.addTo(c)
	_ = c.RegisterFlagCompletionFunc("mode", cobra.FixedCompletions(modes, cobra.ShellCompDirectiveNoFileComp))
	_ = c.RegisterFlagCompletionFunc("method", cobra.FixedCompletions(methods, cobra.ShellCompDirectiveNoFileComp))
	_ = c.MarkFlagDirname("scratch-dir")
}

// complete finds out what the flags mean, and refuses what does not go together.
func (o *vmFlags) complete(c *cobra.Command, args []string) error {
	switch {
	case o.ingestOptions.name != "" && (len(args) > 1 || o.all):
		return usage(c, "--name is for one VM")
	case !slices.Contains([]string{vm.ModeAuto, vm.ModeLive, vm.ModeOffline, modeSnapshot}, o.Mode):
		return usage(c, "--mode %q: want auto, live, offline or snapshot", o.Mode)
	case !slices.Contains([]string{vm.MethodBackup, vm.MethodSnapshot}, o.Method):
		return usage(c, "--method %q: want backup or snapshot", o.Method)
	case o.ShutdownTimeout <= 0:
		return usage(c, "--shutdown-timeout %v: want a time, such as 10m", o.ShutdownTimeout)
	case o.Mode == modeSnapshot && (o.forget || o.keep > 0 || len(o.tags) > 0):
		return usage(c, "--mode snapshot makes no snapshot in the repository: --tag, --keep and --forget are for those")
	case o.Full && o.audit != "":
		return usage(c, "--audit compares what is not read, and --full reads everything")
	}
	if o.audit != "" {
		share, err := strconv.ParseFloat(strings.TrimSuffix(o.audit, "%"), 64)
		if err != nil || !(share >= 0 && share <= 100) { // nor NaN
			return usage(c, "--audit %q: want a percentage, 0%% to 100%%", o.audit)
		}
		o.Audit, o.NoAudit = share, share == 0
	}
	o.Options.Name, o.Adopt, o.Verify, o.Program, o.Tags = o.name, o.adopt, !o.noVerify, program(), o.tags
	o.Shutdown = o.yes
	return nil
}

func (a *app) runIngestVM(c *cobra.Command, args []string, o *vmFlags) error {
	if err := o.complete(c, args); err != nil {
		return err
	}
	ctx := c.Context()
	if o.Mode == modeSnapshot {
		return a.eachVM(ctx, args, o, func(name string) (vmOutcome, error) { return a.snapshotVM(ctx, name, o) })
	}
	return a.withRepo(ctx, func(r *repo.Repo) error {
		return a.eachVM(ctx, args, o, func(name string) (vmOutcome, error) { return a.ingestVM(ctx, r, name, o) })
	})
}

// A vmOutcome is what became of one VM.
type vmOutcome struct {
	VM       string `json:"vm"`
	Done     bool   `json:"done"`
	Snapshot string `json:"snapshot"` // its ID, or libvirt's name of it
	Mode     string `json:"mode"`
	Read     int64  `json:"bytes_read"`
	Stored   int64  `json:"bytes_stored"`
	Warnings int    `json:"warnings"`
	Error    string `json:"error"`
}

// eachVM does one VM after the other, and tells of each as it is done. One that
// fails does not keep the others from being done.
func (a *app) eachVM(ctx context.Context, names []string, o *vmFlags, do func(name string) (vmOutcome, error)) error {
	all, err := vmsToDo(ctx, names, o)
	if err != nil {
		return err
	}
	var list []vmOutcome
	var done, failed, warned int
	for _, name := range all {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		one, err := do(name)
		if one.VM = name; err != nil {
			if len(all) == 1 {
				return wrong(err, vm.ErrUsage)
			}
			one.Error, _ = a.explain(err)
			a.print.fail(one.Error, 0)
			failed++
		} else {
			a.print.committed = true
			one.Done = true
			done++
			warned += one.Warnings
		}
		list = append(list, one)
	}
	if len(all) > 1 || o.all {
		a.print.vmOutcomes(list)
	}
	switch {
	case done == 0 && failed > 0:
		return &statusError{status: statusFailed}
	case failed > 0 || warned > 0:
		return &statusError{status: statusPartial}
	}
	return nil
}

// vmsToDo are the VMs that are named, or all that have a disk to back up.
func vmsToDo(ctx context.Context, names []string, o *vmFlags) ([]string, error) {
	if !o.all {
		return names, nil
	}
	list, err := vm.List(ctx, o.Connect)
	if err != nil {
		return nil, err
	}
	for _, d := range list {
		if d.Disks > 0 {
			names = append(names, d.Name)
		}
	}
	if len(names) == 0 {
		return nil, errors.New("libvirt has no VM with a disk that can be backed up")
	}
	return names, nil
}

func (a *app) ingestVM(ctx context.Context, r *repo.Repo, name string, o *vmFlags) (vmOutcome, error) {
	options := o.Options
	if o.Mode == vm.ModeOffline && !o.yes {
		agreed, err := a.mayShutDown(ctx, name, o)
		if err != nil {
			return vmOutcome{}, err
		}
		options.Shutdown = agreed
	}
	options.Progress = new(ingest.Progress)
	stop := a.ingesting(options.Progress)
	result, err := vm.Ingest(ctx, r, name, options)
	stop()
	if err != nil && ctx.Err() != nil {
		a.warnOfGuest(err)
	}
	if err != nil {
		return vmOutcome{}, err
	}
	s := result.Snapshot
	made := []outcome{{
		snapshot: s, quiesced: result.Quiesced, frozen: result.Frozen.Seconds(), down: result.Down.Seconds(),
		notes: result.Notes, warnings: result.Warnings,
	}}
	a.forgetAfter(ctx, r, &o.ingestOptions, made)
	a.print.outcome(made[0], a.repoPath)
	return vmOutcome{
		Snapshot: s.ID, Mode: result.Mode, Read: s.Info.Summary.BytesRead, Stored: s.Info.Summary.BytesStored, Warnings: len(made[0].warnings),
	}, nil
}

// warnOfGuest says in what state a guest is left, which is not said of an
// interruption otherwise.
func (a *app) warnOfGuest(err error) {
	var left *vm.LeftOtherwise
	if errors.As(err, &left) {
		a.print.warn(left.Left.Error())
	}
	var still *vm.StillRunning
	if errors.As(err, &still) {
		sentence := strings.TrimSuffix(still.Error(), ": "+context.Canceled.Error())
		a.print.warn(sentence + "; should it go off now, vaultfs recover starts it again")
	}
}

// mayShutDown asks whether a running VM may be shut down, where there is
// somebody to answer.
func (a *app) mayShutDown(ctx context.Context, name string, o *vmFlags) (bool, error) {
	if !a.canAsk() {
		return false, nil
	}
	list, err := vm.List(ctx, o.Connect)
	if err != nil {
		return false, err
	}
	i := slices.IndexFunc(list, func(d vm.Domain) bool { return d.Name == name })
	if i < 0 || list[i].State == "shut off" {
		return false, nil
	}
	return a.confirm(ctx, fmt.Sprintf("The VM %s is %s. Shut it down for the backup, and start it again?", name, list[i].State))
}

// snapshotVM makes a snapshot of a VM where it lies.
func (a *app) snapshotVM(ctx context.Context, name string, o *vmFlags) (vmOutcome, error) {
	result, err := vm.TakeSnapshot(ctx, name, vm.SnapshotOptions{Connect: o.Connect, Name: o.name, NoQuiesce: o.NoQuiesce, Program: o.Program})
	if err != nil {
		return vmOutcome{}, err
	}
	a.print.tookVMSnapshot(result)
	return vmOutcome{Snapshot: result.Name, Mode: modeSnapshot, Warnings: len(result.Warnings)}, nil
}
