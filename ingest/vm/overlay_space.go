package vm

import (
	"fmt"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// room fails when too little space is free: where the overlays grow, or where the images are that these must go into
// at the end. An image that is a file may grow by as much as its overlay holds, but not beyond the size of its disk.
func (o *overlays) room() error {
	if err := o.dir.room(); err != nil {
		return err
	}
	type need struct {
		bytes int64
		image string
	}
	needs := map[uint64]need{} // by file system
	for _, one := range o.made {
		image, err := os.Stat(one.Base)
		if err != nil || !image.Mode().IsRegular() {
			continue // of a block device the space is there
		}
		fs := image.Sys().(*syscall.Stat_t).Dev
		grows := min(allocated(one.File), max(0, o.sizes[one.Target]-allocated(one.Base)))
		if grows > 0 {
			needs[fs] = need{needs[fs].bytes + grows, one.Base}
		}
	}
	for _, n := range needs {
		if free, err := freeSpace(n.image); err != nil || free < n.bytes {
			return fmt.Errorf("only %d MiB are free where %s is, and %d MiB must be to take what the guest has written meanwhile%s: free some",
				free>>20, n.image, (n.bytes+1<<20-1)>>20, because(err))
		}
	}
	return nil
}

// allocated is the space that a file takes, in bytes; 0 if it cannot be told.
func allocated(path string) int64 {
	var st unix.Stat_t
	if unix.Stat(path, &st) != nil {
		return 0
	}
	return st.Blocks * 512
}

// freeSpace is what is free of the file system of a path, in bytes.
func freeSpace(path string) (int64, error) {
	var fs unix.Statfs_t
	if err := unix.Statfs(path, &fs); err != nil {
		return 0, err
	}
	return int64(fs.Bavail) * fs.Frsize, nil
}
