package fusefs

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// A process that has just ended may hold its files for an instant longer.
const (
	busyTries = 5
	busyPause = 50 * time.Millisecond
)

// Unmount takes a vaultfs mount away, of this process or another, alive or dead.
// A lazy one is out of sight at once, and ends when the last file on it is closed;
// else open files are an error.
func Unmount(dir string, lazy bool) error {
	path, err := resolveParent(dir)
	if err != nil {
		return fmt.Errorf("unmounting %s: %w", dir, err)
	}
	switch m, err := mountAt(path); {
	case err != nil:
		return err
	case m == "":
		return fmt.Errorf("nothing is mounted on %s", dir)
	case m != mountType:
		return fmt.Errorf("what is mounted on %s is of type %s, not a vaultfs repository", dir, m)
	}
	for try := 1; ; try++ {
		err = unmountPath(path, lazy)
		if !errors.Is(err, unix.EBUSY) || try == busyTries {
			break
		}
		time.Sleep(busyPause)
	}
	switch {
	case errors.Is(err, unix.EBUSY):
		return fmt.Errorf("%s is in use: close the files that are open on it (fuser -vm %s lists who has them), or unmount it lazily", dir, dir)
	case err != nil:
		return fmt.Errorf("unmounting %s: %w", dir, err)
	}
	return nil
}

// unmountPath asks the kernel, and fusermount3 when that takes root.
func unmountPath(path string, lazy bool) error {
	flags, args := unix.UMOUNT_NOFOLLOW, []string{"-u"}
	if lazy {
		flags, args = flags|unix.MNT_DETACH, append(args, "-z")
	}
	if err := unix.Unmount(path, flags); err != unix.EPERM {
		return err
	}
	cmd := exec.Command("fusermount3", append(args, "--", path)...)
	cmd.Env = append(os.Environ(), "LC_ALL=C")
	out, err := cmd.CombinedOutput()
	switch {
	case err == nil:
		return nil
	case bytes.Contains(out, []byte("busy")):
		return unix.EBUSY
	}
	return fmt.Errorf("fusermount3: %w: %s", err, bytes.TrimSpace(out))
}

// resolveParent is resolve for a directory that itself cannot be looked at when
// the program behind it has died.
func resolveParent(dir string) (string, error) {
	path, err := filepath.Abs(dir)
	if err != nil {
		return "", err
	}
	if resolved, err := filepath.EvalSymlinks(path); err == nil {
		return resolved, nil
	}
	parent, err := filepath.EvalSymlinks(filepath.Dir(path))
	if err != nil {
		return "", err
	}
	return filepath.Join(parent, filepath.Base(path)), nil
}

// mountType is the type that the kernel lists our mounts under.
const mountType = "fuse." + subtype

// mountAt is the type of the file system that is mounted on exactly this path,
// the topmost one if there are several, and "" if there is none.
func mountAt(path string) (string, error) {
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return "", fmt.Errorf("listing mounts: %w", err)
	}
	if m := findMount(string(mounts), path); m != nil {
		return m.kind, nil
	}
	return "", nil
}

// A mounted is a line of the list of mounts.
type mounted struct {
	device string // "0:52"
	kind   string // type of the file system
}

// findMount reads the format of proc_pid_mountinfo(5), and returns the topmost mount
// on exactly a path, nil if there is none: the device is the third field, the mount
// point the fifth, the type the first after a lone "-".
func findMount(mountinfo, path string) (found *mounted) {
	for line := range strings.Lines(mountinfo) {
		before, after, ok := strings.Cut(line, " - ")
		fields := strings.Fields(before)
		if !ok || len(fields) < 5 || unescapeMount.Replace(fields[4]) != path {
			continue
		}
		kind, _, _ := strings.Cut(after, " ")
		found = &mounted{fields[2], kind}
	}
	return found
}

// unescapeMount undoes the octal escapes of mountinfo.
var unescapeMount = strings.NewReplacer(`\040`, " ", `\011`, "\t", `\012`, "\n", `\134`, `\`)
