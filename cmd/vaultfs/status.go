package main

import (
	"context"
	"time"

	"github.com/spf13/cobra"
	"vaultfs/repo"
)

func (a *app) statusCommand() *cobra.Command {
	var check, noRatio bool
	c := &cobra.Command{
		Use:   "status",
		Short: "Show what is backed up, how well, and what is overdue",
		Long: `Show the state of the repository on one page: of each source the newest
snapshot and when it was verified, how large the data are as they are, without
repetitions, and as stored, what waits to be freed, who is at work, and when the
data were last read. Below that stands what needs attention:

  backup     the newest snapshot of a source is older than its policy allows, or
             more than twice as old as is usual for that source (and 36 hours)
  verify     a newest snapshot was never verified, or data were not read for
             longer than the policy allows (45 days, unless it was set)
  damage     damage is known: found by verify, or plain to see now
  clock      times in the future
  space      little is free on the repository's file system
  session    a process died at work, or has been at work for days
  waiting    what was forgotten long ago still takes space

VERIFIED is when verify has last read all that the newest snapshot needs, or when
its own backup has read back what it wrote; what that found stored already, it did
not read again: a * marks such a snapshot.

Nothing is changed, and no data are read: what is not known to be damaged may
still be. vaultfs verify finds out.

Exit status: 0; 4 if damage is known. With --check, for use by a monitoring
system, it is 3 if anything else needs attention.`,
		Example: `  vaultfs status
  vaultfs status --check --quiet || mail -s "backup" root </dev/null
  vaultfs status --json`,
		Args: exactly(0),
		RunE: func(c *cobra.Command, _ []string) error {
			return a.withRepo(c.Context(), func(r *repo.Repo) error { return a.status(c.Context(), r, check, noRatio) })
		},
	}
	c.Flags().BoolVar(&check, "check", false, "exit with 3 if anything needs attention, with 4 if damage is known")
	c.Flags().BoolVar(&noRatio, "no-ratio", false, "do not add up all data, which takes some seconds in a large repository")
	return c
}

func (a *app) status(ctx context.Context, r *repo.Repo, check, noRatio bool) error {
	stop := a.watch(func() state { return state{phase: "looking at the repository"} })
	st, err := r.Status(ctx, repo.StatusOptions{Now: time.Now(), NoSums: noRatio})
	stop()
	if err != nil {
		return err
	}
	concerns := concernsOf(st)
	a.print.status(a.repoPath, r, st, concerns)
	for _, c := range concerns {
		if c.Kind == concernDamage {
			return &statusError{status: statusDamage}
		}
	}
	switch {
	case len(newerOf(st)) > 0:
		return &statusError{status: statusFailed}
	case check && len(concerns) > 0:
		return &statusError{status: statusPartial}
	}
	return nil
}
