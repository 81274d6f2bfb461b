package main

import (
	"fmt"

	"github.com/spf13/cobra"
	"vaultfs/ingest/vm"
	"vaultfs/repo"
)

func (a *app) recoverCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "recover",
		Short: "Set VMs right that a backup which died has left",
		Long: `Set VMs right that a backup which was killed, or ended by a power failure, has
left in another state than it found them in: a guest that is frozen, a backup
job that has not ended, an overlay that was not merged back, a VM that was shut
down and not started again, a checkpoint of a snapshot that was not committed.
Each run notes what it is about to do, so this is known and not guessed; what a
living backup is at is left alone.

The next backup of the VM does the same first. The repository is needed for the
checkpoints only: without --repo they are left to the next backup.`,
		Example: `  vaultfs recover`,
		Args:    exactly(0),
		RunE: func(c *cobra.Command, _ []string) error {
			if a.repoPath == "" {
				return a.recover(c, nil)
			}
			// Guests must not wait for a repository that is away, nor for a password.
			a.neverAsk = true
			opened := false
			err := a.withRepo(c.Context(), func(r *repo.Repo) error {
				opened = true
				return a.recover(c, r)
			})
			if opened || c.Context().Err() != nil {
				return err
			}
			a.print.warn(fmt.Sprintf("checkpoints are left to the next backup: %s", a.sentence(err)))
			return a.recover(c, nil)
		},
	}
}

func (a *app) recover(c *cobra.Command, r *repo.Repo) error {
	list, err := vm.Recover(c.Context(), vm.RecoverOptions{Repo: r})
	a.print.recovered(list)
	if err != nil {
		return err
	}
	for _, one := range list {
		if one.Err != nil {
			return &statusError{status: statusFailed, err: fmt.Errorf("not everything could be set right, see above: run vaultfs recover again when that is mended")}
		}
	}
	return nil
}
