package main

import (
	"context"

	"vaultfs/bench"
	"vaultfs/bench/data"
	"vaultfs/bench/peers"
	"vaultfs/bench/report"
)

// tree measures a root file system as files.
func (r *run) tree(ctx context.Context) (err error) {
	it := data.Item{Name: "Debian root", Path: r.options.root, About: "given"}
	if r.options.root == "" {
		it, err = r.maker.Root(ctx)
	} else {
		it.Bytes, err = bench.DiskUsage(r.options.root)
	}
	if err != nil {
		return err
	}
	r.use(it)
	s := peers.Source{Kind: peers.Tree, Path: it.Path, Label: "root"}
	err = r.pair(ctx, [2]string{report.TreeFirst, report.TreeAgain}, [2]peers.Source{s, s}, [2]int64{it.Bytes, it.Bytes})
	if err != nil {
		return err
	}
	return r.checkAll(ctx, s, "the root's files", func(path string) []string {
		return []string{"rsync", "-rlHDcn", "--delete", "-i", s.Path + "/", path + "/"}
	})
}

// dump measures the dumps of a database on two days.
func (r *run) dump(ctx context.Context) error {
	dumps, err := r.maker.Dumps(ctx, r.options.scale)
	if err != nil {
		return err
	}
	r.use(dumps[:]...)
	first := peers.Source{Kind: peers.Dump, Path: dumps[0].Path, Label: "bench"}
	next := peers.Source{Kind: peers.Dump, Path: dumps[1].Path, Label: "bench"}
	err = r.pair(ctx, [2]string{report.DumpFirst, report.DumpNext}, [2]peers.Source{first, next}, [2]int64{dumps[0].Bytes, dumps[1].Bytes})
	if err != nil {
		return err
	}
	return r.checkAll(ctx, next, "the dump", func(path string) []string { return []string{"cmp", next.Path, path} })
}

// pair measures two states of a source, each round in new repositories.
func (r *run) pair(ctx context.Context, rows [2]string, states [2]peers.Source, sizes [2]int64) error {
	for round := 1; round <= r.few(); round++ {
		list := r.turn(round, mainOnes)
		if err := r.create(ctx, list); err != nil {
			return err
		}
		for i, s := range states {
			if err := r.backUp(ctx, rows[i], round, list, s, sizes[i]); err != nil {
				return err
			}
		}
	}
	return nil
}

// checkAll compares what each program restores with the source, and removes the
// repositories.
func (r *run) checkAll(ctx context.Context, s peers.Source, what string, command func(path string) []string) error {
	for _, p := range r.turn(1, mainOnes) {
		err := r.restore(ctx, p, s, func(path string) error { return r.same(ctx, p, what, command(path)) }, func(bench.Usage) {})
		if err := r.pass(p, err); err != nil {
			return err
		}
	}
	return r.remove(everyone)
}
