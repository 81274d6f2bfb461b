package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"vaultfs/bench"
	"vaultfs/bench/guest"
	"vaultfs/bench/peers"
	"vaultfs/bench/read"
	"vaultfs/bench/report"
)

// Bounds of the readings of a mount; who reaches them is slow, and measured all
// the same.
const (
	readFor    = 10 * time.Second
	randomFor  = 10 * time.Second
	mostBlocks = 2_000 // few, for what has been read warms what is read next
	mountFor   = time.Minute
)

// mounted mounts a peer's repository, with nothing of it in the page cache, lets
// fn read the source there, and returns what the mount had resident at most.
func (r *run) mounted(ctx context.Context, p *peer, s peers.Source, fn func(path string) error) (peak int64, err error) {
	at := filepath.Join(r.work, "mnt")
	if err := os.MkdirAll(at, 0o755); err != nil {
		return 0, err
	}
	c, path, err := p.Mount(s, at)
	if err != nil {
		return 0, err
	}
	if err := bench.DropCaches(); err != nil {
		return 0, err
	}
	process, err := c.Start(ctx)
	if err != nil {
		return 0, err
	}
	defer process.Stop()
	defer func() { err = errors.Join(err, unmount(at)) }()
	if err := appears(ctx, path, process); err != nil {
		return 0, err
	}
	if err := bench.DropCaches(); err != nil {
		return 0, err
	}
	err = fn(path)
	return process.Peak(), err
}

// appears waits until a mount shows a path.
func appears(ctx context.Context, path string, process *bench.Process) error {
	for begin := time.Now(); time.Since(begin) < mountFor && ctx.Err() == nil; time.Sleep(20 * time.Millisecond) {
		if _, err := os.Stat(path); err == nil {
			return nil
		}
		if err := process.Ended(); err != nil {
			return err
		}
	}
	return errors.Join(ctx.Err(), fmt.Errorf("%s does not appear within %v", path, mountFor))
}

// unmount takes what is mounted away, if need be while it is in use.
func unmount(at string) error {
	for range 50 {
		if err := unix.Unmount(at, 0); err == nil || errors.Is(err, unix.EINVAL) {
			return nil
		}
		time.Sleep(20 * time.Millisecond)
	}
	return unix.Unmount(at, unix.MNT_DETACH)
}

// mounts reads the guest's disk through each mount, and the file itself.
func (r *run) mounts(ctx context.Context, s *scene, round int) error {
	for _, p := range r.turn(round, mainOnes) {
		err := r.mount(ctx, p, s, round)
		if errors.Is(err, peers.ErrCannot) {
			r.remark("%s: its mount does not show a disk, and was not measured", p.Name())
			continue
		}
		if err != nil && p.Name() != report.Own && ctx.Err() == nil {
			r.remark("the mount of %s failed, and was not measured: %s", p.Name(), firstLine(err))
			continue
		}
		if err != nil {
			return fmt.Errorf("the mount of %s: %w", p.Name(), err)
		}
	}
	if err := bench.DropCaches(); err != nil {
		return err
	}
	return r.inOrder(ctx, report.Local, round, s.guest.Path)
}

func (r *run) mount(ctx context.Context, p *peer, s *scene, round int) error {
	peak, err := r.mounted(ctx, p, s.guest, func(path string) error { return r.inOrder(ctx, p.Name(), round, path) })
	if err != nil {
		return err
	}
	r.peakOf(report.Sequential, p.Name(), peak)
	peak, err = r.mounted(ctx, p, s.guest, func(path string) error {
		// All programs are asked for places that all have: a computed file has no zeros
		// of the disk in it, and may be shorter.
		n, took, err := read.Random(ctx, path, min(s.Generations[0].Bytes, s.raw.Bytes)*9/10, mostBlocks, randomFor)
		if err == nil {
			r.add(report.Sample{Row: report.RandomReads, Tool: p.Name(), Round: round, Count: n}, bench.Usage{Wall: took})
		}
		return err
	})
	if err == nil {
		r.peakOf(report.RandomReads, p.Name(), peak)
	}
	return err
}

// inOrder reads the beginning of a file twice: the second time what was read the
// first, which is less of a slow mount.
func (r *run) inOrder(ctx context.Context, tool string, round int, path string) error {
	n, most := r.options.mount*1e6, readFor
	for _, row := range []string{report.Sequential, report.SecondRead} {
		var took time.Duration
		var err error
		if n, took, err = read.Sequential(ctx, path, n, most); err != nil {
			return err
		}
		most *= 2
		r.add(report.Sample{Row: row, Tool: tool, Round: round, Bytes: n}, bench.Usage{Wall: took})
	}
	return nil
}

// peakOf adds the memory of a mount to the newest sample of a row.
func (r *run) peakOf(row, tool string, peak int64) {
	for i := len(r.res.Samples) - 1; i >= 0; i-- {
		if s := &r.res.Samples[i]; s.Row == row && s.Tool == tool {
			s.Peak = peak
			return
		}
	}
}

// boots boots the guest from its file and from the mount of vaultfs.
func (r *run) boots(ctx context.Context, s *scene, round int) error {
	if round > r.few() || s.bootless {
		return nil
	}
	boot := func(tool, image string) error {
		work, err := os.MkdirTemp(r.work, "boot-")
		if err != nil {
			return err
		}
		defer os.RemoveAll(work)
		took, err := guest.Boot(ctx, image, r.options.accel, work)
		if err == nil {
			r.add(report.Sample{Row: report.Boot, Tool: tool, Round: round}, bench.Usage{Wall: took})
		}
		return err
	}
	if err := bench.DropCaches(); err != nil {
		return err
	}
	err := boot(report.Local, s.guest.Path)
	for _, p := range r.peers {
		if p.Name() == report.Own && err == nil {
			_, err = r.mounted(ctx, p, s.guest, func(path string) error { return boot(report.Own, path) })
		}
	}
	if err == nil && r.options.accel == "tcg" {
		r.remark("the guest that boots is emulated (tcg), which takes more of its time than the disk does; -accel kvm is for machines that have it")
	}
	if err != nil && ctx.Err() == nil {
		s.bootless = true
		r.remark("the guest's boot was not measured: %v", err)
		return nil
	}
	return err
}
