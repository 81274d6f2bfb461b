package bench

import (
	"context"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// A Usage is what a command, or several in a row, took.
type Usage struct {
	Wall, CPU time.Duration
	Peak      int64 // bytes resident, of the command that took most
}

// Add adds what a later command took.
func (u *Usage) Add(o Usage) {
	u.Wall += o.Wall
	u.CPU += o.CPU
	u.Peak = max(u.Peak, o.Peak)
}

// Run runs a command to its end. If the command fails, the error holds what it
// said.
func Run(ctx context.Context, env []string, program string, args ...string) (u Usage, err error) {
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Env = append(os.Environ(), env...)
	begin := time.Now()
	out, err := cmd.CombinedOutput()
	u.Wall = time.Since(begin)
	if err != nil {
		return u, fmt.Errorf("%s: %w\n%s", cmd, err, out)
	}
	state := cmd.ProcessState
	u.CPU = state.UserTime() + state.SystemTime()
	// In KiB, and never below what this process had when it started the other.
	u.Peak = state.SysUsage().(*syscall.Rusage).Maxrss * 1024
	return u, nil
}

// DiskUsage is how many bytes a directory takes on the disk.
func DiskUsage(dir string) (n int64, err error) {
	err = files(dir, func(_ string, info fs.FileInfo) error {
		n += info.Sys().(*syscall.Stat_t).Blocks * 512
		return nil
	})
	return n, err
}

// Settle waits until all that was written is on the disk, so that the next
// command does not pay for it.
func Settle() { syscall.Sync() }

// Evict makes the next reads of a directory's files come from the disk, not from
// memory.
func Evict(dir string) error {
	Settle()
	return files(dir, func(path string, info fs.FileInfo) error {
		if !info.Mode().IsRegular() {
			return nil
		}
		f, err := os.Open(path)
		if err != nil {
			return err
		}
		defer f.Close()
		return unix.Fadvise(int(f.Fd()), 0, 0, unix.FADV_DONTNEED)
	})
}

// Copy copies a directory.
func Copy(ctx context.Context, from, to string) error {
	out, err := exec.CommandContext(ctx, "cp", "-a", from, to).CombinedOutput()
	if err != nil {
		return fmt.Errorf("copying %s: %w: %s", from, err, out)
	}
	return nil
}

func files(dir string, fn func(path string, info fs.FileInfo) error) error {
	return filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := e.Info()
		if err != nil {
			return err
		}
		return fn(path, info)
	})
}
