package main

import (
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
	frozen   float64  // seconds that the guest was frozen
	down     float64  // seconds that it was shut down
	notes    []string // those that came up after the commit are not in the snapshot
	warnings []string // what was left out or did not work as it should
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
}

func (a *app) ingestCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "ingest KIND",
		Short: "Back something up",
		Example: `  vaultfs ingest vm win11
  vaultfs ingest disk /var/lib/libvirt/images/debian.qcow2
  vaultfs ingest tree /etc
  vaultfs ingest rsync root@web:/srv --name web-srv
  vaultfs ingest tar docker-vol-web-data-2026-11-21.tar.gz`,
		Long: `Back something up as a new snapshot. Only what the repository does not hold yet
is stored, whatever it came from.

A snapshot is committed in one step at the end. Before that, all that was
written is read back from the repository and its hashes are computed again,
unless --no-verify is given. If an ingest fails or is interrupted no snapshot
appears, and the next one uses what had been stored already.`,
		Args: cobra.ArbitraryArgs,
		RunE: groupRun,
	}
	c.AddCommand(a.ingestDiskCommand(), a.ingestVMCommand(), a.ingestVzdumpCommand(), a.ingestTreeCommand(), a.ingestRsyncCommand(), a.ingestTarCommand(), a.ingestStdinCommand(), a.ingestPGCommand())
	return c
}

func (o *ingestOptions) addTo(c *cobra.Command) {
	c.Flags().BoolVar(&o.adopt, "adopt", false, "go on with a source that was backed up from another machine")
	c.Flags().BoolVar(&o.noVerify, "no-verify", false, "do not read back what was written before it is committed")
	_ = c.RegisterFlagCompletionFunc("name", cobra.NoFileCompletions)
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
func (a *app) ingested(made []outcome, err error) error {
	warned := false
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
