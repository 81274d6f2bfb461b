// Command prune compares forgetting and collecting in vaultfs and restic: both
// back up the same series of states of one source, then both forget all but the
// newest, from copies of these repositories and in turn.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"

	"vaultfs/bench"
)

// A comparison is what is compared and where.
type comparison struct {
	vaultfs, restic string
	dir             string // scratch, made and removed
	kind            string // image or files
	states          int    // that are backed up
	keep            int    // newest that are kept
	megabytes       int    // of the image
	files           int    // of the tree
	change          float64
	repeat          int
	seed            uint64
}

func main() {
	var c comparison
	flag.StringVar(&c.vaultfs, "vaultfs", "./vaultfs", "program")
	flag.StringVar(&c.restic, "restic", "restic", "program")
	flag.StringVar(&c.dir, "dir", "", "for what is made, on the disk to be measured; a new directory in it is used and removed")
	flag.StringVar(&c.kind, "kind", "image", "of source: image, a raw disk; or files, a tree of small ones")
	flag.IntVar(&c.states, "states", 60, "states that are backed up")
	flag.IntVar(&c.keep, "keep", 10, "newest snapshots to keep")
	flag.IntVar(&c.megabytes, "megabytes", 1024, "size of the image")
	flag.IntVar(&c.files, "files", 200_000, "files of the tree")
	flag.Float64Var(&c.change, "change", 0.02, "share that each state changes of the one before")
	flag.IntVar(&c.repeat, "repeat", 3, "times that each collection is measured")
	flag.Uint64Var(&c.seed, "seed", 1, "of the content")
	flag.Parse()
	if flag.NArg() > 0 || c.keep < 1 || c.states <= c.keep || c.repeat < 1 || (c.kind != "image" && c.kind != "files") {
		flag.Usage()
		os.Exit(2)
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	if err := c.run(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "prune:", err)
		os.Exit(1)
	}
}

func (c *comparison) run(ctx context.Context) (err error) {
	if c.dir, err = os.MkdirTemp(c.dir, "prune-"); err != nil {
		return err
	}
	defer os.RemoveAll(c.dir)
	tools := []tool{newRestic(c), newVaultfs(c)}
	backups, err := c.backUp(ctx, tools)
	if err != nil {
		return err
	}
	fmt.Printf("%s: %d snapshots of %s, %.0f %% changed in each; the %d newest are kept\n\n",
		c.kind, c.states, c.size(), 100*c.change, c.keep)
	fmt.Printf("| | wall s | CPU s | peak MB | repository MB |\n|---|---|---|---|---|\n")
	for i, t := range tools {
		fmt.Printf("| %s, %d backups | %.1f | %.1f | %.0f | %.0f |\n", t.Name(), c.states,
			backups[i].Wall.Seconds(), backups[i].CPU.Seconds(), mega(backups[i].Peak), mega(backups[i].size))
	}
	return c.collect(ctx, tools)
}

// taken is what commands took, and the size of the repository afterwards, in
// bytes.
type taken struct {
	bench.Usage
	size int64
}

func mega(n int64) float64 { return float64(n) / 1e6 }

func (c *comparison) size() string {
	if c.kind == "image" {
		return fmt.Sprintf("an image of %d MiB", c.megabytes)
	}
	return fmt.Sprintf("a tree of %d small files", c.files)
}

// backUp makes the states, each backed up by each tool, in turn.
func (c *comparison) backUp(ctx context.Context, tools []tool) ([]taken, error) {
	path := filepath.Join(c.dir, "source")
	src, err := c.newSource(path)
	if err != nil {
		return nil, err
	}
	total := make([]taken, len(tools))
	for _, t := range tools {
		if err = t.Create(ctx); err != nil {
			return nil, err
		}
	}
	for state := range c.states {
		if state > 0 {
			if err := src.change(); err != nil {
				return nil, err
			}
		}
		for i, t := range tools {
			u, err := t.Backup(ctx, c.source(path))
			if err != nil {
				return nil, err
			}
			total[i].Add(u)
		}
		fmt.Fprintf(os.Stderr, "\r%d of %d states", state+1, c.states)
	}
	fmt.Fprintln(os.Stderr)
	for i, t := range tools {
		if total[i].size, err = bench.DiskUsage(t.Repo()); err != nil {
			return nil, err
		}
	}
	return total, os.RemoveAll(path)
}

// collect measures each way of collecting, in turn, each time on a fresh copy.
func (c *comparison) collect(ctx context.Context, tools []tool) error {
	for range c.repeat {
		for way := range tools[0].ways {
			for _, t := range tools {
				u, err := c.once(ctx, t, t.ways[way])
				if err != nil {
					return err
				}
				fmt.Printf("| %s, %s | %.2f | %.2f | %.0f | %.0f |\n", t.Name(), t.ways[way].name, u.Wall.Seconds(), u.CPU.Seconds(), mega(u.Peak), mega(u.size))
			}
		}
	}
	return nil
}

// once collects in a copy of the tool's repository, as it was after the last
// backup, and checks afterwards what is left.
func (c *comparison) once(ctx context.Context, t tool, w way) (u taken, err error) {
	full := t.dir
	t = t.in(full + ".copy")
	defer os.RemoveAll(t.dir)
	if err := bench.Copy(ctx, full, t.dir); err != nil {
		return u, err
	}
	bench.Settle()
	for _, args := range w.commands {
		one, err := t.Run(ctx, args...)
		if err != nil {
			return u, err
		}
		u.Add(one)
	}
	if _, err := t.Run(ctx, t.check...); err != nil {
		return u, err
	}
	u.size, err = bench.DiskUsage(t.Repo())
	return u, err
}
