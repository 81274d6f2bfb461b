package main

import (
	"context"
	"errors"
	"slices"

	"github.com/spf13/cobra"
	"vaultfs/ingest"
	"vaultfs/repo"
)

// An outcome is a snapshot that an ingest has made.
type outcome struct {
	snapshot *repo.Snapshot
	quiesced string
	frozen   float64     // seconds that the guest was frozen
	down     float64     // seconds that it was shut down
	notes    []string    // those that came up after the commit are not in the snapshot
	warnings []string    // what was left out or did not work as it should
	forgot   *sourcePlan // that was applied to the source after it; nil for none
}

// remarks are the notes of the snapshot and those that came up after it was
// made, without the warnings, which are told apart.
func (o *outcome) remarks() []string {
	all := []string{}
	for _, note := range append(list(o.snapshot.Info.Notes), o.notes...) {
		if !slices.Contains(all, note) && !slices.Contains(o.warnings, note) {
			all = append(all, note)
		}
	}
	return all
}

// ingestOptions are the flags that every ingest has.
type ingestOptions struct {
	name            string
	adopt, noVerify bool
	tags            []string
	keep            int // of the source, with the new one; 0 for all
	forget          bool
}

func (a *app) ingestCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "ingest KIND",
		Short: "Back something up",
		Example: `  vaultfs ingest vm win11
  vaultfs ingest disk /var/lib/libvirt/images/debian.qcow2
  vaultfs ingest tree /etc --forget
  vaultfs ingest rsync root@web:/srv --name web-srv
  vaultfs ingest tar docker-vol-web-data-2026-11-21.tar.gz`,
		Long: `Back something up as a new snapshot. Only what the repository does not hold yet
is stored, whatever it came from.

A snapshot is committed in one step at the end. Before that, all that was
written is read back from the repository and its hashes are computed again,
unless --no-verify is given. If an ingest fails or is interrupted no snapshot
appears, and the next one uses what had been stored already.

With --forget, or --keep N, older snapshots of the source are forgotten once the
new one is committed, as "vaultfs forget" does it; "vaultfs gc" frees their space.
If that fails, the new snapshot is there all the same, and the exit status is 3.`,
		Args: cobra.ArbitraryArgs,
		RunE: groupRun,
	}
	c.AddCommand(a.ingestDiskCommand(), a.ingestVMCommand(), a.ingestVzdumpCommand(), a.ingestTreeCommand(), a.ingestRsyncCommand(), a.ingestTarCommand(), a.ingestStdinCommand(), a.ingestPGCommand())
	return c
}

func (o *ingestOptions) addTo(c *cobra.Command) {
	c.Flags().BoolVar(&o.adopt, "adopt", false, "go on with a source that was backed up from another machine")
	c.Flags().BoolVar(&o.noVerify, "no-verify", false, "do not read back what was written before it is committed")
	c.Flags().Var(tagsFlag{&o.tags}, "tag", "give each new snapshot the `TAG`, by which a rule can keep it; may be repeated")
	c.Flags().Var(countFlag{&o.keep}, "keep", "then forget all snapshots of the source but the last `N`")
	c.Flags().BoolVar(&o.forget, "forget", false, "then forget what the policy does not keep of the source (see vaultfs policy)")
	for _, name := range []string{"name", "tag", "keep"} {
		_ = c.RegisterFlagCompletionFunc(name, cobra.NoFileCompletions)
	}
	c.PreRunE = func(c *cobra.Command, _ []string) error { return o.check(c) }
}

// check refuses flags that make no sense.
func (o *ingestOptions) check(c *cobra.Command) error {
	o.tags = sortedTags(o.tags)
	switch {
	case len(o.tags) > repo.MaxTags:
		return usage(c, "--tag was given %d times, a snapshot has room for %d", len(o.tags), repo.MaxTags)
	case o.forget && c.Flags().Changed("keep"):
		return usage(c, "--keep and --forget exclude each other")
	case c.Flags().Changed("keep") && o.keep == 0:
		return usage(c, "--keep 0 would keep nothing")
	}
	return nil
}

// ingesting shows how far an ingest has come until stop is called.
func (a *app) ingesting(p *ingest.Progress) (stop func()) {
	a.onInterrupt = "; nothing more was committed"
	return a.watch(func() state {
		s := state{"reading", p.Done.Load(), p.Total.Load()}
		switch {
		case s.total == 0 && s.done == 0:
			s.phase = "preparing" // as while a VM is waited for that was told to shut down
		case s.total > 0 && s.done >= s.total:
			s.phase = "reading back and committing"
		}
		return s
	})
}

// ingested prints what was committed, and returns the error of an ingest as the
// exit status wants it: if anything was committed, one that something was left
// out.
func (a *app) ingested(ctx context.Context, r *repo.Repo, common *ingestOptions, made []outcome, err error) error {
	warned := false
	a.forgetAfter(ctx, r, common, made)
	for _, o := range made {
		a.print.committed = true
		a.print.outcome(o, a.repoPath)
		warned = warned || len(o.warnings) > 0
	}
	switch {
	case err == nil && warned:
		return &statusError{status: statusPartial}
	case err != nil && len(made) > 0:
		return &statusError{statusPartial, err}
	}
	return err
}

// wrong gives the errors of options that make no sense their exit status.
func wrong(err, usage error) error {
	if errors.Is(err, usage) {
		return &statusError{statusUsage, err}
	}
	return err
}
