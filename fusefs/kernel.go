package fusefs

import (
	"os"
	"path/filepath"
	"strconv"

	"golang.org/x/sys/unix"
)

// readAheadKiB is what the kernel reads ahead of a sequential reader, in KiB. Its
// own 128 would be its size of request as well.
const readAheadKiB = 4096

// raiseReadAhead sets the mount's read-ahead, which only root may. Without it the
// tree is slower and otherwise the same, so failing is nothing to report. The
// device is looked up in the list of mounts: see tree.mount for why not in the tree.
func raiseReadAhead(dir string) {
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return
	}
	if m := findMount(string(mounts), dir); m != nil {
		_ = os.WriteFile("/sys/class/bdi/"+m.device+"/read_ahead_kb", []byte(strconv.Itoa(readAheadKiB)), 0)
	}
}

// keepFromChildren has the connection to the kernel closed in programs that this
// process starts. One that held it would keep the mount hanging, instead of
// failing, when this process dies. go-fuse leaves it open when it mounts by itself.
func keepFromChildren() {
	links, _ := filepath.Glob("/proc/self/fd/*")
	for _, link := range links {
		if target, err := os.Readlink(link); err == nil && target == "/dev/fuse" {
			if fd, err := strconv.Atoi(filepath.Base(link)); err == nil {
				unix.CloseOnExec(fd)
			}
		}
	}
}
