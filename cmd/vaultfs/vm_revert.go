package main

import (
	"errors"
	"fmt"

	"github.com/spf13/cobra"
	"vaultfs/ingest/vm"
)

func (a *app) vmRevertSnapshotCommand() *cobra.Command {
	var o vm.DeleteOptions
	var yes bool
	c := &cobra.Command{
		Use:   "revert-snapshot NAME SNAPSHOT",
		Short: "Set a VM back to a libvirt snapshot that vaultfs made",
		Long: `Set a VM that is shut off back to a libvirt snapshot that vaultfs made. All that
the VM has written since then is lost; back it up first if that is of any worth.

Of an external snapshot the VM's definition names the images again, and the
overlays, which hold what was written since, are removed, and the snapshot with
them. An internal snapshot stays, and the VM's definition becomes that of the
time. UEFI variables and the TPM's state stay as they are.

A VM that runs or is saved is refused, and so is a snapshot on which later ones
lie, or that vaultfs did not make. If it is killed, the same command finishes
it.`,
		Example: `  vaultfs vm revert-snapshot win11 vaultfs-before-upgrade
  vaultfs vm revert-snapshot win11 vaultfs-2026-11-23T18-00-00Z --yes`,
		Args: exactly(2),
		RunE: func(c *cobra.Command, args []string) error {
			name, snapshot := args[0], args[1]
			if !yes {
				agreed, err := a.agreeToRevert(c, name, snapshot)
				if err != nil || !agreed {
					return err
				}
			}
			r, err := vm.RevertSnapshot(c.Context(), name, snapshot, o)
			if err != nil {
				return err
			}
			a.print.revertedVMSnapshot(r)
			return nil
		},
		ValidArgsFunction: completeVMSnapshots(&o.Connect),
	}
	c.Flags().BoolVarP(&yes, "yes", "y", false, "do not ask")
	connectFlag(c, &o.Connect)
	return c
}

// agreeToRevert asks, where there is somebody to answer.
func (a *app) agreeToRevert(c *cobra.Command, name, snapshot string) (bool, error) {
	if !a.canAsk() {
		return false, &statusError{statusUsage, errors.New("setting a VM back wants a yes, and there is no terminal to ask on: give --yes")}
	}
	agreed, err := a.confirm(c.Context(), fmt.Sprintf("Set the VM %s back to the snapshot %s? All that it has written since then is lost.", name, snapshot))
	if err == nil && !agreed {
		a.print.remark("nothing was set back\n")
	}
	return agreed, err
}
