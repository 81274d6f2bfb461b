package main

import (
	"github.com/spf13/cobra"
	"vaultfs/repo"
)

func (a *app) repairCommand() *cobra.Command {
	c := &cobra.Command{
		Use:     "repair COMMAND",
		Short:   "Mend what can be made anew from the rest",
		Example: `  vaultfs repair index`,
		Args:    cobra.ArbitraryArgs,
		RunE:    groupRun,
	}
	c.AddCommand(a.repairIndexCommand())
	return c
}

func (a *app) repairIndexCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "index",
		Short: "Make the index anew from the packs",
		Long: `Make the repository's index anew. The index only says where each piece of data
lies; every pack says the same of itself, so nothing is lost with the index.
Nothing but the index is changed. It is refused while an ingest goes on; a mount
does not mind.

Reading works without an index as well, only more slowly to begin with, and the
next ingest makes a new one by itself.`,
		Example: `  vaultfs repair index && vaultfs verify`,
		Args:    exactly(0),
		RunE: func(c *cobra.Command, _ []string) error {
			return a.withRepo(c.Context(), func(r *repo.Repo) error {
				if err := r.RebuildIndex(c.Context()); err != nil {
					return err
				}
				a.print.done("made a new index", "")
				return nil
			})
		},
	}
}
