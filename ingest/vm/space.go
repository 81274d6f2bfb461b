package vm

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// What a backup job leaves free of the scratch directory's file system, in bytes: a fiftieth of it, within these bounds.
// The space is looked at once a second, so the lower one is about what a busy guest can overwrite in that time; what is
// overwritten faster stalls the guest until the job has ended, and does not fail unless the guest's disk has an
// error_policy that asks for that, see space_policy.go. The upper one is enough for all else that lives on a large file
// system.
const (
	leastFree = 256 << 20
	mostFree  = 2 << 30
)

// keepFree is what a job leaves free of a file system of the given size in bytes.
func keepFree(size int64) int64 { return min(max(size/50, leastFree), mostFree) }

// room fails when less is free than must stay so. It says that in one sentence, without what that means for the job.
func (s *scratch) room() error {
	var fs unix.Statfs_t
	if err := unix.Fstatfs(int(s.lock.Fd()), &fs); err != nil {
		return fmt.Errorf("scratch directory %s: its free space: %w", s.dir, err)
	}
	free, keep := int64(fs.Bavail)*fs.Frsize, s.keepFree(int64(fs.Blocks)*fs.Frsize)
	if free >= keep {
		return nil
	}
	return fmt.Errorf("only %d MiB are free in %s, where what the guest overwrites during the backup is kept, and %d MiB must stay free: free some, or name another place with --scratch-dir",
		free>>20, s.dir, (keep+1<<20-1)>>20)
}
