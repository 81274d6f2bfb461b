package main

import (
	"github.com/spf13/cobra"
	"vaultfs/repo"
)

func (a *app) showCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "show SNAP",
		Short: "Tell everything about a snapshot",
		Long: `Tell what a snapshot holds, where it came from and how it was read, what was
verified before it was committed, and what was noted on the way.`,
		Example: `  vaultfs show vm/win11
  vaultfs show vm/win11@2026-11-21 --json`,
		Args: exactly(1),
		RunE: func(c *cobra.Command, args []string) error {
			return a.withRepo(c.Context(), func(r *repo.Repo) error {
				s, err := r.Resolve(c.Context(), args[0])
				if err != nil {
					return err
				}
				a.print.snapshot(s)
				return nil
			})
		},
		ValidArgsFunction: a.completeSnapshots,
	}
}
