package main

import (
	"github.com/spf13/cobra"
	"vaultfs/repo"
)

func (a *app) sessionsCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "sessions",
		Short: "List who is at work in the repository",
		Long: `List who is at work in the repository: ingests, mounts, restores. One that is
not alive was killed; the next ingest clears it away and uses what it had
stored.`,
		Example: `  vaultfs sessions`,
		Args:    exactly(0),
		RunE: func(c *cobra.Command, _ []string) error {
			return a.withRepo(c.Context(), func(r *repo.Repo) error {
				sessions, err := r.Sessions(c.Context())
				if err != nil {
					return err
				}
				a.print.sessions(sessions)
				return nil
			})
		},
	}
}
