package main

import (
	"context"

	"github.com/spf13/cobra"
	"vaultfs/repo"
	"vaultfs/restore"
)

func (a *app) lsCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "ls SNAP[:PATH]",
		Short: "List the files of a snapshot",
		Long: `List the files of a snapshot with their sizes in bytes, as the mount shows them.
Every disk is there twice, as .qcow2 and as .raw; it is stored once.

The paths are what "restore" takes after the colon; a disk's bare name will do
there too.`,
		Example: `  vaultfs ls vm/win11
  vaultfs ls vm/win11@2026-11-21:disks`,
		Args: exactly(1),
		RunE: func(c *cobra.Command, args []string) error {
			return a.withRepo(c.Context(), func(r *repo.Repo) error {
				s, path, err := resolvePath(c.Context(), r, args[0])
				if err != nil {
					return err
				}
				entries, err := find(s, path)
				if err != nil {
					return err
				}
				if err := measure(c.Context(), r, entries); err != nil {
					return err
				}
				a.print.entries(entries)
				return nil
			})
		},
		ValidArgsFunction: a.completePaths,
	}
}

// measure finds out how long the files are.
func measure(ctx context.Context, r *repo.Repo, entries []entry) error {
	for i, e := range entries {
		if e.format != restore.QCOW2 {
			entries[i].size = e.item.Size
			continue
		}
		s, err := restore.Open(ctx, r, e.item, e.format)
		if err != nil {
			return err
		}
		entries[i].size = s.Size()
	}
	return nil
}
