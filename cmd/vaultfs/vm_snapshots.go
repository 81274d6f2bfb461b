package main

import (
	"errors"
	"fmt"

	"github.com/spf13/cobra"
	"vaultfs/ingest/vm"
)

func (a *app) vmSnapshotsCommand() *cobra.Command {
	var uri string
	c := &cobra.Command{
		Use:   "snapshots [NAME…]",
		Short: "List the libvirt snapshots that vaultfs made",
		Long: `List the snapshots that vaultfs had libvirt make, of the VMs named or of all,
oldest first. The one marked is libvirt's current one.

An internal snapshot is in the disks' qcow2 images. An external one leaves the
images as they were, and overlays beside them take what the VM writes since.
"vaultfs vm revert-snapshot" goes back to either. By hand, to go back to an
external one, shut the VM off, set its disks' sources back to the images, which
are in the output of --json, and remove each disk's <backingStore> (virsh edit):
libvirt leaves there the same image again, and the VM would not start.`,
		Example: `  vaultfs vm snapshots
  vaultfs vm snapshots win11 --json`,
		Args: cobra.ArbitraryArgs,
		RunE: func(c *cobra.Command, args []string) error {
			list, err := vm.ListSnapshots(c.Context(), uri, args)
			if err != nil {
				return err
			}
			a.print.vmSnapshots(list)
			return nil
		},
		ValidArgsFunction: completeVMs(&uri),
	}
	connectFlag(c, &uri)
	return c
}

func (a *app) vmDeleteSnapshotCommand() *cobra.Command {
	var o vm.DeleteOptions
	var yes bool
	c := &cobra.Command{
		Use:   "delete-snapshot NAME SNAPSHOT",
		Short: "Delete a libvirt snapshot that vaultfs made",
		Long: `Delete a libvirt snapshot that vaultfs made. The VM stays as it is now, running
or not; what can no longer be gone back to is the state of the snapshot.

The overlays of an external snapshot are merged into the images below, one disk
after the other, each into its own image only, and then removed. That takes as
long as it takes to copy what was written since, and once begun it is not
interrupted by Ctrl-C. If it is killed, "vaultfs recover" or the VM's next
backup finishes it.

A snapshot on which later ones lie, or that vaultfs did not make, is refused.`,
		Example: `  vaultfs vm delete-snapshot win11 vaultfs-before-upgrade
  vaultfs vm delete-snapshot win11 vaultfs-2026-11-23T18-00-00Z --yes`,
		Args: exactly(2),
		RunE: func(c *cobra.Command, args []string) error {
			name, snapshot := args[0], args[1]
			if !yes {
				agreed, err := a.agreeToDelete(c, name, snapshot)
				if err != nil || !agreed {
					return err
				}
			}
			r, err := vm.DeleteSnapshot(c.Context(), name, snapshot, o)
			if err != nil {
				return err
			}
			a.print.deletedVMSnapshot(r)
			return nil
		},
		ValidArgsFunction: completeVMSnapshots(&o.Connect),
	}
	c.Flags().BoolVarP(&yes, "yes", "y", false, "do not ask")
	connectFlag(c, &o.Connect)
	return c
}

// agreeToDelete asks, where there is somebody to answer.
func (a *app) agreeToDelete(c *cobra.Command, name, snapshot string) (bool, error) {
	if !a.canAsk() {
		return false, &statusError{statusUsage, errors.New("deleting a snapshot wants a yes, and there is no terminal to ask on: give --yes")}
	}
	agreed, err := a.confirm(c.Context(), fmt.Sprintf("Delete the snapshot %s of the VM %s? The VM stays as it is now, and cannot go back to it any more.", snapshot, name))
	if err == nil && !agreed {
		a.print.remark("nothing was deleted\n")
	}
	return agreed, err
}

// completeVMSnapshots suggests a VM, and then its snapshots.
func completeVMSnapshots(uri *string) cobra.CompletionFunc {
	return func(c *cobra.Command, args []string, typed string) (found []string, _ cobra.ShellCompDirective) {
		switch len(args) {
		case 0:
			return completeVMs(uri)(c, args, typed)
		case 1:
			list, err := vm.ListSnapshots(c.Context(), *uri, args)
			if err != nil {
				return nil, noFiles
			}
			for _, s := range list {
				found = append(found, s.Name+"\t"+localTime(s.Created)+" "+s.Kind)
			}
		}
		return starting(found, typed), noFiles
	}
}
