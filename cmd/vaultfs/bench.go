package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"time"

	"github.com/spf13/cobra"
	"vaultfs/ingest"
	"vaultfs/ingest/disk"
	"vaultfs/internal/measure"
)

// benchFlags say what is measured.
type benchFlags struct {
	disk    disk.Options
	tmp     string
	noWrite bool
	change  float64
	every   time.Duration

	size                     int64 // of a generated disk; below 0 for none
	duplicates, compressible float64
	lasting                  time.Duration
}

// A measured disk is a file with what it comes to.
type measuredDisk struct {
	*measure.Disk
	path, format string
}

// benchResult is what was measured of disks, or of none.
type benchResult struct {
	rates   *measure.Rates
	madeUp  bool // the data that the rates are measured with
	disks   []measuredDisk
	schemes []measure.SchemeCost
	growth  measure.Growth
	every   time.Duration
	change  float64
	most    int64 // bytes that were resident at most
	took    time.Duration
}

func (a *app) benchCommand() *cobra.Command {
	o := benchFlags{size: -1, change: 0.02, duplicates: 0.3, compressible: 0.7}
	c := &cobra.Command{
		Use:   "bench [FILE|DEVICE]…",
		Short: "Measure what backups of a disk would cost and gain, on this machine",
		Long: `Measure what backups of disks would cost and gain, on this machine. It needs no
repository and no password, and leaves nothing behind. FILE is what "ingest disk"
takes; it is only read. Told are

  the machine   how fast each step of a backup is with the disk's own data, on one
                core and on all of them, and for which step a backup waits
  the disks     what vaultfs would store, and what other ways of cutting would
  growth        what the next backups add: as the later generations did, if
                several files are generations of a disk, given in their order; else
                as if the share --change of the data changed each time

Without FILE only the machine is measured, with data made up for it. Reading is
measured cold: the kernel is asked to forget the file's part of the page cache.
Writing is measured with a temporary file in --tmp, at most 256 MiB a core:
name a directory of the disk that the repository would be on.

With --size a disk of that size is made up and taken through all steps, to see
that rate and memory stay the same. Nothing is written unless --tmp is given.

Ctrl-C ends it; what was measured until then is told.`,
		Example: `  vaultfs bench /var/lib/libvirt/images/debian.qcow2
  vaultfs bench --tmp /backup monday.qcow2 tuesday.qcow2 wednesday.qcow2
  vaultfs bench /dev/vg0/mail-snapshot --no-write
  vaultfs bench --size 500G --duplicates 40% --for 10m`,
		RunE: func(c *cobra.Command, args []string) error {
			if err := o.check(c, args); err != nil {
				return err
			}
			if o.size >= 0 {
				return a.benchGenerated(c.Context(), &o)
			}
			return a.benchDisks(c.Context(), args, &o)
		},
		ValidArgsFunction: completeFiles,
	}
	f := c.Flags()
	f.StringVar(&o.disk.Format, "format", "", "what `FORMAT` the images have: qcow2, raw, vmdk, vdi, vhdx, vpc, qcow")
	f.BoolVar(&o.disk.AllowBacking, "allow-backing", false, "backing files and extents may lie anywhere")
	f.StringVar(&o.tmp, "tmp", "", "write the temporary file into `DIR` (default $TMPDIR or /tmp)")
	f.BoolVar(&o.noWrite, "no-write", false, "write nothing")
	f.Var(share{&o.change}, "change", "of the data `P%` change from one backup to the next")
	f.DurationVar(&o.every, "every", 24*time.Hour, "the time `D` lies between two backups")
	f.Var(amount{&o.size}, "size", "make a disk of `SIZE` up")
	f.Var(share{&o.duplicates}, "duplicates", "of it `P%` is there twice or more")
	f.Var(share{&o.compressible}, "compressible", "of it `P%` compresses as text does, the rest not at all")
	f.DurationVar(&o.lasting, "for", 0, "end after the time `D`")
	_ = c.MarkFlagDirname("tmp")
	_ = c.RegisterFlagCompletionFunc("format", cobra.FixedCompletions(disk.Formats, cobra.ShellCompDirectiveNoFileComp))
	return c
}

// check refuses flags that do not go together.
func (o *benchFlags) check(c *cobra.Command, files []string) error {
	given := c.Flags().Changed
	switch {
	case o.size >= 0 && len(files) > 0:
		return usage(c, "--size makes a disk up: leave %q out, or --size", files[0])
	case o.size == 0:
		return usage(c, "--size 0 is no disk: give a size such as 500G")
	case o.size < 0 && (given("duplicates") || given("compressible") || given("for")):
		return usage(c, "--duplicates, --compressible and --for say how --size is meant: give that, too")
	case given("for") && o.lasting <= 0:
		return usage(c, "--for %v would measure nothing: give a time such as 10m", o.lasting)
	case o.size >= 0 && (given("change") || given("every") || given("format") || given("allow-backing")):
		return usage(c, "--change, --every, --format and --allow-backing are about disks that there are: leave them out, or --size")
	case o.every < time.Minute:
		return usage(c, "--every %v is no time between two backups: give one such as 24h", o.every)
	case o.noWrite && given("tmp"):
		return usage(c, "--tmp and --no-write exclude each other")
	}
	return nil
}

// place is the directory to write to; nil for none.
func (o *benchFlags) place() (*measure.Place, error) {
	if o.tmp == "" {
		return nil, nil
	}
	return measure.Look(o.tmp)
}

// benchPlace is place, or else the directory for temporary files, if that will do.
func (a *app) benchPlace(o *benchFlags) (*measure.Place, error) {
	if o.tmp != "" || o.noWrite {
		return o.place()
	}
	place, err := measure.Look(os.TempDir())
	if err != nil {
		a.print.warn(fmt.Sprintf("%v; writing is not measured: name a directory with --tmp", err))
	}
	return place, nil
}

// openAll finds out whether all files can be opened, before any is read for long.
func (o *benchFlags) openAll(ctx context.Context, files []string) error {
	for _, path := range files {
		img, err := disk.Open(ctx, path, o.disk)
		if err != nil {
			return err
		}
		img.Close()
	}
	return nil
}

// benchDisks measures the machine with the data of the first file, and then all
// files.
func (a *app) benchDisks(ctx context.Context, files []string, o *benchFlags) error {
	if len(files) > 1 {
		if err := o.openAll(ctx, files); err != nil {
			return wrong(err, disk.ErrUsage)
		}
	}
	place, err := a.benchPlace(o)
	if err != nil {
		return err
	}
	r := &benchResult{madeUp: len(files) == 0, every: o.every, change: o.change}
	begin := time.Now()
	if len(files) == 0 {
		stop := a.watch(func() state { return state{phase: "measuring this machine"} })
		r.rates, err = measure.Measure(ctx, measure.NewGenerated(256<<20, 0, 0.7, rand.Uint64()), nil, place)
		stop()
	} else {
		err = a.survey(ctx, files, o, place, r)
	}
	if err != nil && ctx.Err() == nil && len(r.disks) == 0 {
		return wrong(err, disk.ErrUsage)
	}
	r.took = time.Since(begin)
	_, r.most = measure.Resident()
	a.print.bench(r)
	if err != nil && ctx.Err() == nil {
		return wrong(err, disk.ErrUsage)
	}
	if err != nil {
		return cutShort()
	}
	return nil
}

// cutShort is the error of an interruption after which something was told.
func cutShort() error {
	return &statusError{statusFailed, errors.New("interrupted: the figures are of what was read until then")}
}

// survey goes through the files.
func (a *app) survey(ctx context.Context, files []string, o *benchFlags, place *measure.Place, r *benchResult) error {
	o.disk.Warn = a.print.warn
	survey := measure.NewSurvey()
	defer func() {
		var disks []*measure.Disk
		for _, d := range r.disks {
			disks = append(disks, d.Disk)
		}
		r.schemes = survey.Schemes()
		r.growth = measure.Project(disks, o.every, o.change)
	}()
	for i, path := range files {
		img, err := disk.Open(ctx, path, o.disk)
		if err != nil {
			return err
		}
		if i == 0 {
			stop := a.watch(func() state { return state{phase: "measuring this machine"} })
			r.rates, err = measure.Measure(ctx, img, img.Files(), place)
			stop()
		}
		var d *measure.Disk
		if err == nil {
			d, err = a.surveyOne(ctx, survey, img)
		}
		if d != nil {
			r.disks = append(r.disks, measuredDisk{d, path, img.Format()})
		}
		if err == nil {
			if changed := img.Unchanged(); changed != nil {
				a.print.warn(fmt.Sprintf("%v; the figures are of a mixture", changed))
			}
		} else if ctx.Err() == nil {
			err = img.Explain(err)
		}
		img.Close()
		if err != nil {
			return err
		}
	}
	return nil
}

func (a *app) surveyOne(ctx context.Context, survey *measure.Survey, img *disk.Opened) (*measure.Disk, error) {
	p := new(ingest.Progress)
	if total, err := ingest.DataBytes(ctx, img); err == nil {
		p.Total.Store(total)
	}
	defer a.watch(func() state { return state{"reading", p.Done.Load(), p.Total.Load()} })()
	return survey.Add(ctx, img, p)
}

// momentEvery is how often a long run is told of; that is its progress.
const momentEvery = 10 * time.Second

// benchGenerated takes a made-up disk through all steps.
func (a *app) benchGenerated(ctx context.Context, o *benchFlags) error {
	place, err := o.place()
	if err != nil {
		return err
	}
	img := measure.NewGenerated(o.size, o.duplicates, o.compressible, rand.Uint64())
	every := momentEvery
	if o.lasting > 0 {
		every = max(time.Second, min(every, o.lasting/10))
	}
	e := &measure.Endurance{For: o.lasting, Every: every, Place: place, Moment: a.print.moment(o.size)}
	r, err := e.Run(ctx, img)
	if err != nil {
		return err
	}
	a.print.lasting(r, o.size, place)
	if ctx.Err() != nil {
		return cutShort()
	}
	return nil
}
