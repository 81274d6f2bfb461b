package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"vaultfs/bench"
	"vaultfs/bench/peers"
	"vaultfs/bench/report"
)

// restores restores the guest's disk with each program, and copies it.
func (r *run) restores(ctx context.Context, s *scene, round int) error {
	for _, p := range r.turn(round, mainOnes) {
		err := r.restore(ctx, p, s.guest, func(path string) error {
			if round > 1 {
				return nil
			}
			return r.sameDisk(ctx, p, s.guest.Path, path)
		}, func(u bench.Usage) {
			r.add(report.Sample{Row: report.Restore, Tool: p.Name(), Round: round, Bytes: s.Generations[0].Bytes}, u)
		})
		if err := r.pass(p, err); err != nil {
			return err
		}
	}
	return r.copy(ctx, s, round)
}

// restore restores a source with nothing in the page cache, gives measured what
// it took until all was on the disk, and lets check look at it.
func (r *run) restore(ctx context.Context, p *peer, s peers.Source, check func(path string) error, measured func(bench.Usage)) error {
	to, err := os.MkdirTemp(r.work, "restored-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(to)
	if err := bench.DropCaches(); err != nil {
		return err
	}
	begin := time.Now()
	u, path, err := p.Restore(ctx, s, to)
	if err != nil {
		return err
	}
	bench.Settle()
	u.Wall = time.Since(begin)
	measured(u)
	return check(path)
}

// copy is what a restore cannot be much faster than.
func (r *run) copy(ctx context.Context, s *scene, round int) error {
	if err := bench.DropCaches(); err != nil {
		return err
	}
	to := filepath.Join(r.work, "copy.raw")
	defer os.Remove(to)
	begin := time.Now()
	u, err := bench.Run(ctx, nil, "cp", "--sparse=always", s.raw.Path, to)
	if err != nil {
		return err
	}
	bench.Settle()
	u.Wall = time.Since(begin)
	r.add(report.Sample{Row: report.Restore, Tool: report.Copy, Round: round, Bytes: s.raw.Bytes}, u)
	return nil
}

// sameDisk compares what was restored with the image: a file of the same format
// byte by byte, one of another as guests see it.
func (r *run) sameDisk(ctx context.Context, p *peer, image, restored string) error {
	args := []string{"cmp", image, restored}
	if filepath.Ext(restored) == ".raw" && filepath.Ext(image) == ".qcow2" {
		args = []string{"qemu-img", "compare", "-f", "qcow2", "-F", "raw", image, restored}
	}
	return r.same(ctx, p, "the guest's disk", args)
}

func (r *run) same(ctx context.Context, p *peer, what string, args []string) error {
	_, out, err := bench.Command{Program: args[0], Args: args[1:]}.Run(ctx)
	if err == nil && args[0] == "rsync" && len(out) > 0 {
		err = fmt.Errorf("%s", out)
	}
	if err != nil {
		return fmt.Errorf("%s restored %s wrongly: %w", p.Name(), what, err)
	}
	r.tell("%s restored %s rightly", p.Name(), what)
	r.res.Checks = append(r.res.Checks, fmt.Sprintf("%s, restored by %s (%s)", what, p.Name(), args[0]))
	return nil
}
