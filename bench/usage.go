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
	// Peak is in bytes resident: of the command that took most, the sum of what
	// each of its processes had at most.
	Peak int64
}

// Add adds what a later command took.
func (u *Usage) Add(o Usage) {
	u.Wall += o.Wall
	u.CPU += o.CPU
	u.Peak = max(u.Peak, o.Peak)
}

// DiskUsage is how many bytes a directory takes on the disk.
func DiskUsage(dir string) (n int64, err error) {
	err = files(dir, func(_ string, info fs.FileInfo) error {
		n += info.Sys().(*syscall.Stat_t).Blocks * 512
		return nil
	})
	return n, err
}

// DropCaches makes all next reads come from the disk, whoever reads. Root may do
// that.
func DropCaches() error {
	Settle()
	if err := os.WriteFile("/proc/sys/vm/drop_caches", []byte("3\n"), 0); err != nil {
		return fmt.Errorf("emptying the page cache: %w: run it as root", err)
	}
	return nil
}

// Free is how many bytes are free for root on the file system of a directory.
func Free(dir string) (int64, error) {
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		return 0, fmt.Errorf("the free space of %s: %w", dir, err)
	}
	return int64(st.Bfree) * st.Bsize, nil
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
