// Command compare runs vaultfs and its peers on the same data, in turn, and
// writes what it measured: results.json, RESULTS.md and plots. It is what
// `make bench` runs.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"vaultfs/bench/bare"
	"vaultfs/bench/report"
)

// options is what the command line says.
type options struct {
	vaultfs string
	dir     string // for data that lasts, and for what is made and removed
	out     string // for the results
	guests  string
	root    string
	only    string
	accel   string // of QEMU
	rounds  int
	slow    int   // rounds of what takes minutes
	large   int64 // MB
	scale   int   // of pgbench
	mount   int64 // MB
}

func main() {
	var o options
	flag.StringVar(&o.vaultfs, "vaultfs", "./vaultfs", "program")
	flag.StringVar(&o.dir, "dir", ".cache/bench", "directory for data, which stays for the next run, and for repositories, which are removed")
	flag.StringVar(&o.out, "out", "bench", "directory for results.json, RESULTS.md and the plots")
	flag.StringVar(&o.guests, "guests", "", "qcow2 `files` of guests: two or three generations of one, and another; none: they are made")
	flag.StringVar(&o.root, "root", "", "`directory` with a root file system; none: one is made")
	flag.StringVar(&o.only, "only", "", "parts to measure, with commas between them: "+strings.Join(partNames(), ", ")+"; none: all")
	flag.StringVar(&o.accel, "accel", "tcg", "what QEMU boots a guest with: tcg, which every machine has, or kvm")
	flag.IntVar(&o.rounds, "rounds", 3, "times that each row is measured")
	flag.IntVar(&o.slow, "slow", 2, "times at most that the large disk, the tree, the dumps and the boots are measured")
	flag.Int64Var(&o.large, "large", 10_000, "size of the large disk in MB")
	flag.IntVar(&o.scale, "scale", 25, "of pgbench; a dump has about 10 MB for each")
	flag.Int64Var(&o.mount, "mount", 1000, "MB to read through each mount")
	reportOnly := flag.Bool("report-only", false, "measure nothing, write RESULTS.md and the plots anew from results.json")
	step := flag.String("step", "", "what the program runs itself with: bare RAW OUT, or hash RAW")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	err := o.complete()
	switch {
	case err != nil:
	case *step != "":
		err = runStep(ctx, *step, flag.Args())
	case *reportOnly:
		var r *report.Results
		if r, err = report.Load(filepath.Join(o.out, resultsFile)); err == nil {
			err = write(r, o.out)
		}
	default:
		err = measure(ctx, o)
	}
	if err != nil {
		if ctx.Err() != nil {
			err = errors.New("interrupted; nothing was written")
		}
		fmt.Fprintln(os.Stderr, "compare:", err)
		os.Exit(1)
	}
}

// complete makes paths absolute: programs run in other directories.
func (o *options) complete() error {
	if o.rounds < 1 || o.slow < 1 || o.large < 1 || o.scale < 1 || o.mount < 1 {
		return errors.New("-rounds, -slow, -large, -scale and -mount are at least 1")
	}
	for _, name := range o.parts() {
		if !known(name) {
			return fmt.Errorf("-only: no part is called %q; there are %s", name, strings.Join(partNames(), ", "))
		}
	}
	for _, p := range []*string{&o.dir, &o.vaultfs, &o.root} {
		if *p == "" {
			continue
		}
		abs, err := filepath.Abs(*p)
		if err != nil {
			return err
		}
		*p = abs
	}
	return nil
}

func (o *options) parts() []string {
	if o.only == "" {
		return nil
	}
	return strings.Split(o.only, ",")
}

// measures tells whether a part is wanted.
func (o *options) measures(part string) bool {
	return o.only == "" || slices.Contains(o.parts(), part)
}

// largeBytes is the size of the large disk, in whole MiB.
func (o *options) largeBytes() int64 { return o.large * 1e6 >> 20 << 20 }

// runStep is this program in a process of its own, so that it is measured as
// others are.
func runStep(ctx context.Context, step string, args []string) error {
	switch {
	case step == "bare" && len(args) == 2:
		return bare.Pipeline(ctx, args[0], args[1])
	case step == "hash" && len(args) == 1:
		return bare.Hash(ctx, args[0])
	}
	return fmt.Errorf("-step %s with %d arguments", step, len(args))
}

const resultsFile = "results.json"

// write writes the report and the plots.
func write(r *report.Results, dir string) error {
	f, err := os.Create(filepath.Join(dir, "RESULTS.md"))
	if err != nil {
		return err
	}
	defer f.Close()
	if err := r.Markdown(f); err != nil {
		return err
	}
	for name, chart := range r.Charts() {
		if err := os.WriteFile(filepath.Join(dir, name), chart.SVG(), 0o644); err != nil {
			return err
		}
	}
	return f.Close()
}
