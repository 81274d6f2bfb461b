package main

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/spf13/cobra"
	"vaultfs/repo"
)

// A mending is what repair found and did, and how long it took.
type mending struct {
	*repo.RepairResult
	dryRun bool
	from   bool // another repository was there to heal from
	took   time.Duration
}

func (a *app) repairCommand() *cobra.Command {
	var o repo.RepairOptions
	other := otherRepository{password: otherPasswordFromEnvironment()}
	c := &cobra.Command{
		Use:   "repair",
		Short: "Set aside what is damaged, heal it, and tell what is lost",
		Long: `Find what is damaged, set it aside, heal what can be healed, and tell to the
byte what is lost: which files, and which ranges of which disks, of which
snapshots. The steps are:

  find       every pack is read, as verify --read-data does; with --known only
             what earlier verifications found is looked at
  index      if a part of the index is gone, it is made anew from the packs
  set aside  what is good in a damaged pack is copied into new ones; then the pack
             is moved to quarantine/ in the repository. A snapshot's manifest that
             cannot be read is moved there too: that snapshot is lost, and the
             others are not touched by it
  heal       with --from, what is lost is taken from another repository
  tell       what is lost now

Nothing is deleted: what lies in quarantine/ is yours to keep or to remove. Packs
that are missing, but needed, stay listed: they may be on a disk that is not
mounted. Ingests, mounts and gc go on meanwhile, but no ingest while the index
is made anew. If it is killed, nothing is lost; the next repair goes on.

--from is a copy of this repository: packs and manifests are taken from it as
they are. Or it is any other repository that holds the same sources: there the
same places of the same disks and files are read, in the snapshots nearest in
time. What does not have the hash of what is lost heals nothing, so a wrong
repository does no harm. Its password comes from --from-password-file,
--from-password-command, VAULTFS_FROM_PASSWORD or VAULTFS_FROM_PASSWORD_FILE;
else this repository's is tried, and then you are asked.

Without another repository, back the same sources up again: what they still
hold heals the older snapshots too. What stays lost goes with the snapshots
that need it: vaultfs forget.

The exit status is 4 as long as anything is damaged or lost, and 0 when all is
whole. With --json one line {"event":"summary",…} has what was found, set aside,
healed and lost; "whole" is true when all is.`,
		Example: `  vaultfs repair --dry-run
  vaultfs repair
  vaultfs repair --from /mnt/offsite/vault --from-password-file /root/offsite.pw`,
		Args: exactly(0),
		RunE: func(c *cobra.Command, _ []string) error {
			a.upkeep = true
			return a.withRepo(c.Context(), func(r *repo.Repo) error {
				return a.withOther(c.Context(), &other, func(from *repo.Repo) error {
					o.From = from
					return a.repair(c.Context(), r, o)
				})
			})
		},
	}
	f := c.Flags()
	f.BoolVarP(&o.DryRun, "dry-run", "n", false, "tell what is damaged and lost, and change nothing")
	f.BoolVar(&o.Known, "known", false, "do not read everything: look at what was found damaged before, and for what is missing")
	f.StringVar(&other.path, "from", "", "heal from another repository, in `DIR`")
	f.StringVar(&other.password.file, "from-password-file", "", "read that repository's password from the first line of `FILE`")
	f.StringVar(&other.password.command, "from-password-command", "", "run `COMMAND` with sh and take the first line it prints as that password")
	_ = c.MarkFlagDirname("from")
	_ = c.MarkFlagFilename("from-password-file")
	c.AddCommand(a.repairIndexCommand())
	return c
}

func (a *app) repair(ctx context.Context, r *repo.Repo, o repo.RepairOptions) error {
	begin := time.Now()
	var at atomic.Pointer[state]
	o.Progress = func(phase string, done, total int64) { at.Store(&state{phase, done, total}) }
	stop := a.watch(func() state {
		if s := at.Load(); s != nil {
			return *s
		}
		return state{phase: "looking at what is there"}
	})
	a.onInterrupt = "; nothing was lost by that, the next repair goes on from here"
	result, err := r.Repair(ctx, o)
	stop()
	if err != nil {
		return err
	}
	a.print.mended(&mending{result, o.DryRun, o.From != nil, time.Since(begin)})
	if !result.Whole() {
		return &statusError{status: statusDamage}
	}
	return nil
}

func (a *app) repairIndexCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "index",
		Short: "Make the index anew from the packs",
		Long: `Make the repository's index anew. The index only says where each piece of data
lies; every pack says the same of itself, so nothing is lost with the index.
Nothing but the index is changed. It is refused while an ingest or a gc goes on;
a mount does not mind.

Reading works without an index as well, only more slowly to begin with, and the
next ingest makes a new one by itself.`,
		Example: `  vaultfs repair index && vaultfs verify`,
		Args:    exactly(0),
		RunE: func(c *cobra.Command, _ []string) error {
			a.upkeep = true
			return a.withRepo(c.Context(), func(r *repo.Repo) error {
				var seen atomic.Int64
				stop := a.watch(func() state { return state{phase: fmt.Sprintf("%d packs read", seen.Load())} })
				err := r.RebuildIndexTelling(c.Context(), func(done, _ int64) { seen.Store(done) })
				stop()
				if err != nil {
					return err
				}
				a.print.done("made a new index", "")
				return nil
			})
		},
	}
}
