package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"vaultfs/bench"
	"vaultfs/bench/data"
	"vaultfs/bench/peers"
	"vaultfs/bench/report"
)

// A scene is the guests and what is made of them.
type scene struct {
	data.Guests
	raw   data.Item    // the first guest's disk as raw
	guest peers.Source // a copy of the first guest, whose times may be changed

	bootless bool // the guest has not booted, and is not tried again
}

// guests measures backups of guests, and then how the last of them are read.
func (r *run) guests(ctx context.Context) error {
	s, err := r.scene(ctx)
	if err != nil {
		return err
	}
	for round := 1; round <= r.options.rounds; round++ {
		if err := r.backUpGuests(ctx, s, round); err != nil {
			return err
		}
	}
	if err := r.remove(func(p *peer) bool { return !p.main }); err != nil {
		return err
	}
	for _, fn := range []func(context.Context, *scene, int) error{r.unlock, r.mounts, r.boots, r.restores} {
		for round := 1; round <= r.options.rounds; round++ {
			if err := fn(ctx, s, round); err != nil {
				return err
			}
		}
	}
	return r.remove(everyone)
}

func (r *run) scene(ctx context.Context) (s *scene, err error) {
	s = new(scene)
	if given := strings.Fields(r.options.guests); len(given) > 0 {
		s.Guests, err = data.Given(given)
	} else {
		s.Guests, err = r.maker.Guests(ctx)
	}
	if err != nil {
		return nil, err
	}
	if s.raw, err = r.maker.Raw(ctx, s.Generations[0]); err != nil {
		return nil, err
	}
	s.guest = peers.Source{Kind: peers.Disk, Path: filepath.Join(r.work, "guest.qcow2"), Label: "guest"}
	r.use(s.Generations...)
	r.use(s.Other)
	return s, bench.Copy(ctx, s.Generations[0].Path, s.guest.Path)
}

// backUpGuests is a round: generation by generation, the other guest, and the
// first state again with another mtime.
func (r *run) backUpGuests(ctx context.Context, s *scene, round int) error {
	list := r.turn(round, everyone)
	if err := r.create(ctx, list); err != nil {
		return err
	}
	for i, g := range s.Generations {
		row := []string{report.First, report.Next, report.Third}[i]
		err := inPlace(s.guest.Path, g.Path, i > 0, func() error { return r.backUp(ctx, row, round, list, s.guest, g.Bytes) })
		if err != nil {
			return err
		}
	}
	other := peers.Source{Kind: peers.Disk, Path: s.Other.Path, Label: "other"}
	if err := r.backUp(ctx, report.Other, round, list, other, s.Other.Bytes); err != nil {
		return err
	}
	if err := r.bare(ctx, s, round); err != nil {
		return err
	}
	return r.again(ctx, report.Again, round, list, s.guest, s.Generations[0].Bytes)
}

// inPlace has a later state of a file, if it is one, stand under the file's name
// while fn works, so that every program finds it where it found the one before.
func inPlace(path, state string, later bool, fn func() error) (err error) {
	if later {
		if err := unix.Mount(state, path, "", unix.MS_BIND, ""); err != nil {
			return fmt.Errorf("showing %s as %s: %w", state, path, err)
		}
		defer func() { err = errors.Join(err, unmount(path)) }()
	}
	return fn()
}

// again backs a file up that is the same but for its mtime.
func (r *run) again(ctx context.Context, row string, round int, list []*peer, s peers.Source, size int64) error {
	for _, p := range list {
		if err := touch(s.Path); err != nil {
			return err
		}
		if err := r.backUp(ctx, row, round, []*peer{p}, s, size); err != nil {
			return err
		}
	}
	return nil
}

// bare measures what cannot be left out of a first backup.
func (r *run) bare(ctx context.Context, s *scene, round int) error {
	if err := warm(s.raw.Path); err != nil {
		return err
	}
	out := filepath.Join(r.work, "bare")
	if err := r.step(ctx, report.First, report.Pipeline, round, s.raw.Bytes, "bare", s.raw.Path, out); err != nil {
		return err
	}
	return r.step(ctx, report.First, report.ReadHash, round, s.raw.Bytes, "hash", s.raw.Path)
}

// unlock measures what every command costs.
func (r *run) unlock(ctx context.Context, _ *scene, round int) error {
	for _, p := range r.turn(round, mainOnes) {
		u, err := p.Unlock(ctx)
		if err == nil {
			r.add(report.Sample{Row: report.Unlock, Tool: p.Name(), Round: round}, u)
		} else if err := r.pass(p, err); err != nil {
			return err
		}
	}
	return nil
}
