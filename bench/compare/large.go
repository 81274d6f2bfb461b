package main

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"

	"vaultfs/bench"
	"vaultfs/bench/data"
	"vaultfs/bench/increment"
	"vaultfs/bench/peers"
	"vaultfs/bench/report"
	"vaultfs/repo"
	"vaultfs/repo/store"
)

// large measures a disk that is many times larger than what changes of it.
func (r *run) large(ctx context.Context) error {
	guests, err := r.guestsFor(ctx)
	if err != nil {
		return err
	}
	disk, err := r.maker.Large(ctx, r.options.largeBytes(), guests...)
	if err != nil {
		return err
	}
	r.use(disk)
	source := peers.Source{Kind: peers.Disk, Path: disk.Path, Label: "large"}
	list := r.turn(1, mainOnes)
	if err := r.create(ctx, list); err != nil {
		return err
	}
	if err := r.backUp(ctx, report.LargeFirst, 1, list, source, disk.Bytes); err != nil {
		return err
	}
	for round := 1; round <= r.few(); round++ {
		if err := r.again(ctx, report.LargeAgain, round, r.turn(round, mainOnes), source, disk.Bytes); err != nil {
			return err
		}
		if err := warm(disk.Path); err != nil {
			return err
		}
		if err := r.step(ctx, report.LargeAgain, report.ReadHash, round, disk.Bytes, "hash", disk.Path); err != nil {
			return err
		}
	}
	if err := r.remove(func(p *peer) bool { return p.Name() != report.Own }); err != nil {
		return err
	}
	if err := r.increments(ctx, source); err != nil {
		return err
	}
	return r.remove(everyone)
}

// guestsFor are the guests whose content the large disk repeats.
func (r *run) guestsFor(ctx context.Context) ([]data.Item, error) {
	var g data.Guests
	var err error
	if given := strings.Fields(r.options.guests); len(given) > 0 {
		g, err = data.Given(given)
	} else {
		g, err = r.maker.Guests(ctx)
	}
	if err != nil {
		return nil, err
	}
	return []data.Item{g.Generations[0], g.Other}, nil
}

// increments goes on with the large disk in the repository of vaultfs.
func (r *run) increments(ctx context.Context, s peers.Source) (err error) {
	own := r.peers[0]
	for _, p := range r.peers {
		if p.Name() == report.Own {
			own = p
		}
	}
	d := &increment.Disk{Source: "disk/" + s.Label, Raw: s.Path, Work: filepath.Join(r.work, "increment")}
	if err := os.Mkdir(d.Work, 0o700); err != nil {
		return err
	}
	defer os.RemoveAll(d.Work)
	st, err := store.OpenDir(own.Repo())
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, st.Close()) }()
	d.Repo, err = repo.Open(ctx, st, repo.OpenOptions{Password: []byte(peers.Password), CacheDir: filepath.Join(r.work, "index")})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, d.Repo.Close()) }()
	if err := d.Start(ctx); err != nil {
		return err
	}
	for round := 1; round <= r.few(); round++ {
		if err := warm(s.Path); err != nil {
			return err
		}
		tenth, err := d.Measure(ctx, 0.001, false)
		if err != nil {
			return err
		}
		one, err := d.Measure(ctx, 0.01, true)
		if err != nil {
			return err
		}
		r.add(report.Sample{Row: report.Bitmap, Tool: report.DirtyTenth, Round: round, Bytes: tenth.Dirty}, bench.Usage{Wall: tenth.Increment})
		r.add(report.Sample{Row: report.Bitmap, Tool: report.Dirty1, Round: round, Bytes: one.Dirty}, bench.Usage{Wall: one.Increment})
		r.add(report.Sample{Row: report.Bitmap, Tool: report.FullRead, Round: round, Bytes: one.FullLooked}, bench.Usage{Wall: one.Full})
	}
	return nil
}
