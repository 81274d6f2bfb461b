package main

import (
	"context"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"syscall"
	"time"
)

// A usage is what a command, or several in a row, took. Sizes are in MB.
type usage struct {
	wall, cpu time.Duration
	peak      float64 // resident, of the command that took most
	size      float64 // of the repository afterwards
}

func (u *usage) add(o usage) {
	u.wall += o.wall
	u.cpu += o.cpu
	u.peak = max(u.peak, o.peak)
}

// run runs a command of the tool on its repository.
func (t tool) run(ctx context.Context, args []string) (u usage, err error) {
	cmd := exec.CommandContext(ctx, t.program, slices.Concat([]string{"--repo", t.repo}, t.global, args)...)
	cmd.Env = append(os.Environ(), t.env...)
	syscall.Sync() // nobody pays for what was written before
	begin := time.Now()
	out, err := cmd.CombinedOutput()
	u.wall = time.Since(begin)
	if err != nil {
		return u, fmt.Errorf("%s: %w\n%s", cmd, err, out)
	}
	state := cmd.ProcessState
	u.cpu = state.UserTime() + state.SystemTime()
	// ru_maxrss, KiB. It is at least what this process had when it forked.
	u.peak = float64(state.SysUsage().(*syscall.Rusage).Maxrss) * 1024 / 1e6
	return u, nil
}

// diskUsage is what a directory takes on the disk, in MB.
func diskUsage(dir string) (float64, error) {
	var blocks int64
	err := filepath.WalkDir(dir, func(_ string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := e.Info()
		if err == nil {
			blocks += info.Sys().(*syscall.Stat_t).Blocks
		}
		return err
	})
	return float64(blocks) * 512 / 1e6, err
}

func copyTree(ctx context.Context, from, to string) error {
	out, err := exec.CommandContext(ctx, "cp", "-a", from, to).CombinedOutput()
	if err != nil {
		return fmt.Errorf("copying %s: %w: %s", from, err, out)
	}
	return nil
}
