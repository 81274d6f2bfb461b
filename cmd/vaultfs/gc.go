package main

import (
	"context"
	"errors"
	"runtime/debug"
	"sync/atomic"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"vaultfs/repo"
)

// A collection is what gc found and did, and how long it took.
type collection struct {
	*repo.GCResult
	took time.Duration
}

func (a *app) gcCommand() *cobra.Command {
	o := everything()
	c := &cobra.Command{
		Use:   "gc",
		Short: "Free the space that no snapshot needs any more",
		Long: `Free the space that no snapshot needs: that of forgotten snapshots, and what
killed or aborted ingests left. First it finds out what is needed and prints a
plan; then it removes packs of which nothing is needed, and copies what is
needed out of packs of which much is not. --dry-run ends after the plan.

No quiet hour is needed: ingests, mounts and restores go on, of this host and of
others. What an ingest under way may have found stored already is not removed
before it has ended. What somebody reads stays until he has closed it. If gc is
killed at whatever moment, no snapshot loses anything: some garbage stays, and
the next gc removes it. Of two at once the second waits for the first, or ends
with status 1 if --no-wait is given.

Space is "waiting" if nothing needs it but somebody might still: the plan names
each session that has to end first, with the bytes that wait for it. A later gc
frees them. Sessions that died are cleared away and nothing waits for them;
"vaultfs sessions" lists the others, and can end one that is stuck.

A pack of which less than --max-unused is unused is left alone, since copying
costs more than it frees; so up to that share of the repository is never freed
until more of those packs falls out of use. When the disk is full, what is freed
without copying goes first.

If a snapshot, or a list of what one needs, cannot be read, it could need
anything: then nothing that might be needed is removed, and the status is 4. What
a newer version wrote has the same effect, with status 1.

With --json the plan and what was done are one line {"event":"gc",…} at the end;
sizes are in bytes.`,
		Example: `  vaultfs gc --dry-run
  vaultfs gc
  vaultfs gc --max-unused 0%                  free the last byte, whatever it costs
  vaultfs gc --for 30m --max-rewrite 50G      no longer, and no more to copy, than that`,
		Args: exactly(0),
		RunE: func(c *cobra.Command, _ []string) error {
			if c.Flags().Changed("for") && o.For <= 0 {
				return usage(c, "--for %v leaves no time: give one such as 30m", o.For)
			}
			a.upkeep = true
			return a.withRepo(c.Context(), func(r *repo.Repo) error { return a.collect(c.Context(), r, o) })
		},
	}
	c.Flags().BoolVarP(&o.DryRun, "dry-run", "n", false, "print the plan and change nothing")
	gcFlags(c.Flags(), &o)
	return c
}

// everything are the options of a collection that is limited in nothing.
func everything() repo.GCOptions {
	return repo.GCOptions{MaxUnused: repo.DefaultMaxUnused, MaxRewrite: -1}
}

// gcFlags are the flags of whatever collects.
func gcFlags(f *pflag.FlagSet, o *repo.GCOptions) {
	f.Var(share{&o.MaxUnused}, "max-unused", "leave packs alone of which less than `P%` is unused")
	f.Var(amount{&o.MaxRewrite}, "max-rewrite", "copy at most so many bytes, `SIZE`, out of packs that are partly unused")
	f.DurationVar(&o.For, "for", 0, "begin no more copying after the time `D`")
	f.BoolVar(&o.Alone, "no-wait", false, "end with status 1 if another gc is at work")
}

// gcMemory is from how much memory on a collection saves memory rather than time,
// in bytes: the packs that it holds while it copies need not be there twice.
const gcMemory = 128 << 20

// collect frees what no snapshot needs, and tells what it did. The error has the
// exit status.
func (a *app) collect(ctx context.Context, r *repo.Repo, o repo.GCOptions) error {
	defer debug.SetMemoryLimit(debug.SetMemoryLimit(gcMemory))
	begin := time.Now()
	var at atomic.Pointer[repo.GCProgress]
	o.Progress = func(p repo.GCProgress) { at.Store(&p) }
	show := func() (stop func()) {
		return a.watch(func() state {
			if p := at.Load(); p != nil {
				return state{p.Phase, p.Done, p.Total}
			}
			return state{phase: "looking at what is there"}
		})
	}
	stop := show()
	o.Planned = func(p *repo.GCPlan) {
		stop() // a plan does not go into a line of progress
		a.print.gcPlan(p, o)
		stop = show()
	}
	a.onInterrupt = "; no snapshot has lost anything, the next gc goes on from here"
	result, err := r.GC(ctx, o)
	stop()
	if err != nil {
		return err
	}
	a.print.collected(collection{result, time.Since(begin)})
	return collectionStatus(result.Plan)
}

// collectionStatus is the exit status of a collection whose plan ended so.
func collectionStatus(p *repo.GCPlan) error {
	switch {
	case p.Lost > 0, errors.Is(errors.Join(p.Blocked...), repo.ErrDamaged):
		return &statusError{status: statusDamage}
	case len(p.Blocked) > 0:
		return &statusError{status: statusFailed}
	}
	return nil
}
