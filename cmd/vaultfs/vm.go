package main

import (
	"context"

	"github.com/spf13/cobra"
	"vaultfs/ingest/vm"
)

func (a *app) vmCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "vm COMMAND",
		Short: "See libvirt's VMs and the snapshots of them that libvirt keeps",
		Long: `See the virtual machines that libvirt knows, and the snapshots that
"vaultfs ingest vm --mode snapshot" has libvirt make of them where they lie.
These are no backups: they are lost with the disks that they lie on. They need
no repository, and are not among those that "vaultfs snapshots" lists.

Only snapshots that vaultfs made are listed, gone back to and deleted; all
others are left alone.`,
		Example: `  vaultfs vm list
  vaultfs vm snapshots win11
  vaultfs vm revert-snapshot win11 vaultfs-before-upgrade
  vaultfs vm delete-snapshot win11 vaultfs-before-upgrade`,
		Args: cobra.ArbitraryArgs,
		RunE: groupRun,
	}
	c.AddCommand(a.vmListCommand(), a.vmSnapshotsCommand(), a.vmRevertSnapshotCommand(), a.vmDeleteSnapshotCommand())
	return c
}

// connectFlag is of the commands that speak to libvirt.
func connectFlag(c *cobra.Command, uri *string) {
	c.Flags().StringVar(uri, "connect", "", "the libvirt `URI`, such as qemu:///system")
	_ = c.RegisterFlagCompletionFunc("connect", cobra.NoFileCompletions)
}

func (a *app) vmListCommand() *cobra.Command {
	var uri string
	c := &cobra.Command{
		Use:   "list",
		Short: "List the VMs of this host",
		Long: `List the VMs of this host: which state each is in, how many disks a backup of it
holds, how many snapshots of libvirt's it has that vaultfs made, and the newest
of these.`,
		Example: `  vaultfs vm list
  vaultfs vm list --json | jq -r '.[] | select(.state == "running") | .vm'`,
		Args: exactly(0),
		RunE: func(c *cobra.Command, _ []string) error {
			list, err := listVMs(c.Context(), uri)
			if err != nil {
				return err
			}
			a.print.vms(list)
			return nil
		},
	}
	connectFlag(c, &uri)
	return c
}

// A vmState is a VM with the snapshots that libvirt keeps of it for us.
type vmState struct {
	vm.Domain
	snapshots []vm.VMSnapshot // oldest first
}

func listVMs(ctx context.Context, uri string) ([]vmState, error) {
	domains, err := vm.List(ctx, uri)
	if err != nil {
		return nil, err
	}
	snapshots, err := vm.ListSnapshots(ctx, uri, nil)
	if err != nil {
		return nil, err
	}
	list := make([]vmState, len(domains))
	for i, d := range domains {
		list[i].Domain = d
		for _, s := range snapshots {
			if s.VM == d.Name {
				list[i].snapshots = append(list[i].snapshots, s)
			}
		}
	}
	return list, nil
}
