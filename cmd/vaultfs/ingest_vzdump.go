package main

import (
	"context"
	"time"

	"github.com/spf13/cobra"
	"vaultfs/ingest"
	"vaultfs/ingest/vzdump"
	"vaultfs/repo"
)

func (a *app) ingestVzdumpCommand() *cobra.Command {
	var common ingestOptions
	var o vzdump.Options
	c := &cobra.Command{
		Use:   "vzdump FILE…|DIR|-",
		Short: "Back up archives of Proxmox VE",
		Long: `Back up archives that vzdump of Proxmox VE has written: VMA of virtual machines,
tar of containers; plain or compressed with zstd, gzip or lzop. Each becomes a
snapshot of the source vzdump/VMID, of the time in the archive's name; with
--name of vzdump/NAME.

Of a directory those archives are read that the repository does not have yet,
oldest first. One that has the name, size and time of one that it has is skipped
without being read; so is what vzdump has not finished. What was forgotten stays
forgotten: an archive whose snapshot was removed, by a rule or by name, is left
out for a year after that, so that a run from cron does not bring it back; give
its own name to have it read again. With --forget or --keep those are left out,
too, that would be forgotten at once. FILE may be - for an archive from standard
input, which needs --name.

What is stored are the guest's disks, block by block, or its tree, file by file:
if the repository has the guest in another form already, an archive adds next
to nothing. The configuration and the notes are kept, too.

An archive is checked as strictly as its format allows while it is read. One
that is cut off, damaged or still being written leaves no snapshot. A guest with
another's number is refused: agree with --adopt, or give it a --name.`,
		Example: `  vaultfs ingest vzdump /var/lib/vz/dump
  vaultfs ingest vzdump /mnt/nas/dump/vzdump-qemu-101-2026_11_20-03_00_01.vma.zst
  ssh pve vzdump 101 --stdout | vaultfs ingest vzdump --name 101 -`,
		Args: atLeast(1),
		RunE: func(c *cobra.Command, args []string) error {
			return a.withRepo(c.Context(), func(r *repo.Repo) error {
				o.Name, o.Adopt, o.Verify, o.Tags = common.name, common.adopt, !common.noVerify, common.tags
				return a.ingestVzdump(c.Context(), r, &common, args, o)
			})
		},
		ValidArgsFunction: completeFiles,
	}
	c.Flags().StringVar(&common.name, "name", "", "make snapshots of the source vzdump/`NAME`")
	common.addTo(c)
	return c
}

func (a *app) ingestVzdump(ctx context.Context, r *repo.Repo, common *ingestOptions, paths []string, o vzdump.Options) (err error) {
	o.Program, o.Stdin, o.Warn, o.Skipped = program(), a.stdin, a.print.warn, a.skipped
	if o.StateDir, err = ingest.StateDir(); err != nil {
		return err
	}
	o.Forgotten = a.forgottenArchive
	if common.forget || common.keep > 0 {
		o.Wanted = func(ctx context.Context, source string, times []time.Time) ([]bool, error) {
			return a.wouldKeep(ctx, r, common, vzdump.Kind, source, times)
		}
		o.Passed = a.passed
	}
	o.Progress = new(ingest.Progress)
	stop := a.ingesting(o.Progress)
	list, err := vzdump.Ingest(ctx, r, paths, o)
	stop()
	var made []outcome
	for _, m := range list {
		made = append(made, outcome{snapshot: m.Snapshot, warnings: m.Warnings})
	}
	return a.ingested(ctx, r, common, made, wrong(err, vzdump.ErrUsage))
}

// skippedJSON tells of something that is not ingested because it is in already.
type skippedJSON struct {
	Event    string `json:"event"` // "skipped"
	Path     string `json:"path"`
	Snapshot string `json:"snapshot"`
	Source   string `json:"source"`
}

// skipped tells of an archive that is in already.
func (a *app) skipped(archive string, s *repo.Snapshot) {
	if a.print.json {
		a.print.object(skippedJSON{"skipped", archive, s.ID, s.Source})
		return
	}
	a.print.remark("%s: skipped, it is snapshot %s of %s\n", archive, s.Short(), s.Source)
}

// passedJSON tells of something that is not ingested because it would be forgotten
// at once.
type passedJSON struct {
	Event string `json:"event"` // "passed"
	Path  string `json:"path"`
}

// passed tells of an archive that would be forgotten at once.
func (a *app) passed(archive string) {
	if a.print.json {
		a.print.object(passedJSON{"passed", archive})
		return
	}
	a.print.remark("%s: left out, it would be forgotten at once\n", archive)
}

// forgottenArchiveJSON tells of an archive that is left out because its snapshot was
// forgotten.
type forgottenArchiveJSON struct {
	Event     string `json:"event"` // "forgotten"
	Path      string `json:"path"`
	Snapshot  string `json:"snapshot"`
	Source    string `json:"source"`
	Forgotten string `json:"forgotten"` // when, RFC 3339
}

// forgottenArchive tells of an archive whose snapshot was forgotten.
func (a *app) forgottenArchive(archive string, f repo.ForgottenArchive) {
	if a.print.json {
		a.print.object(forgottenArchiveJSON{"forgotten", archive, f.Snapshot, f.Source, f.Time.UTC().Format(time.RFC3339)})
		return
	}
	a.print.remark("%s: left out, its snapshot %s of %s was forgotten on %s; give its name to read it again\n",
		archive, f.Snapshot[:8], f.Source, f.Time.Format(time.DateOnly))
}
