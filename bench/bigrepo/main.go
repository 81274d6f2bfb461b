// Command bigrepo makes a repository of millions of tiny chunks in hundreds of
// snapshots, as years of backups would, to measure what grows with their
// number. On a repository that it made before it goes on. With -measure it makes
// nothing, and tells what the program's commands take on the repository.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"

	"vaultfs/bench"
	"vaultfs/repo"
	"vaultfs/repo/store"
)

func main() {
	b := bench.Big{}
	flag.IntVar(&b.Chunks, "chunks", 10_000_000, "data chunks")
	flag.IntVar(&b.Snapshots, "snapshots", 1000, "snapshots of all sources together")
	flag.IntVar(&b.Disks, "disks", 20, "sources that are disks")
	flag.IntVar(&b.Trees, "trees", 5, "sources that are trees of small files")
	flag.IntVar(&b.Noise, "noise", 64, "bytes of each chunk that do not compress")
	flag.Uint64Var(&b.Seed, "seed", 1, "of the noise")
	flag.IntVar(&b.Parallel, "parallel", 2, "sessions at a time")
	program := flag.String("measure", "", "`vaultfs` whose commands are measured on DIR")
	password := flag.String("password", "bench", "of the repository")
	flag.Usage = func() {
		fmt.Fprintln(flag.CommandLine.Output(), "usage: bigrepo [flags] DIR")
		flag.PrintDefaults()
	}
	flag.Parse()
	if flag.NArg() != 1 {
		flag.Usage()
		os.Exit(2)
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	var err error
	if *program != "" {
		err = measure(ctx, *program, flag.Arg(0), *password)
	} else {
		err = run(ctx, &b, flag.Arg(0), []byte(*password))
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "bigrepo:", err)
		os.Exit(1)
	}
}

// run makes the repository if there is none, and adds the snapshots.
func run(ctx context.Context, b *bench.Big, dir string, password []byte) error {
	st, err := store.OpenDir(dir)
	if errors.Is(err, os.ErrNotExist) {
		if st, err = store.Create(dir); err == nil {
			err = repo.Init(ctx, st, repo.InitOptions{Password: password, Label: "bigrepo"})
		}
	}
	if err != nil {
		return err
	}
	defer st.Close()
	r, err := repo.Open(ctx, st, repo.OpenOptions{Password: password, Warn: func(s string) { fmt.Fprintln(os.Stderr, "bigrepo:", s) }})
	if err != nil {
		return err
	}
	defer r.Close()
	b.Progress = progress(time.Now())
	return b.Generate(ctx, r)
}

// progress prints a line now and then.
func progress(began time.Time) func(bench.BigProgress) {
	last := began
	return func(p bench.BigProgress) {
		if now := time.Now(); p.Snapshots == p.Of || now.Sub(last) >= 10*time.Second {
			last = now
			fmt.Printf("%6.0f s  %4d of %d snapshots  %9d chunks  %6d MB\n",
				now.Sub(began).Seconds(), p.Snapshots, p.Of, p.Chunks, p.Stored/1e6)
		}
	}
}
