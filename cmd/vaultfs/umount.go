package main

import (
	"github.com/spf13/cobra"
	"vaultfs/fusefs"
)

func (a *app) umountCommand() *cobra.Command {
	var lazy bool
	c := &cobra.Command{
		Use:   "umount DIR",
		Short: "Take a mount away",
		Long: `Take a mount of vaultfs away, also one whose program has died. That fails while
files on it are open, unless --lazy is given: then it is out of sight at once
and ends when the last file is closed.`,
		Example: `  vaultfs umount /mnt/vault`,
		Args:    exactly(1),
		RunE: func(_ *cobra.Command, args []string) error {
			if err := fusefs.Unmount(args[0], lazy); err != nil {
				return err
			}
			a.print.done("unmounted "+args[0], "")
			return nil
		},
		ValidArgsFunction: completeDirs,
	}
	c.Flags().BoolVar(&lazy, "lazy", false, "do not wait until the files on it are closed")
	return c
}
