package testtree

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// Same fails the test unless two trees are the same for rsync, which compares
// contents too, and for Describe.
func Same(t testing.TB, want, got string) {
	t.Helper()
	if out := RsyncDiff(t, want, got); out != "" {
		t.Errorf("rsync finds differences between %s and %s:\n%s", want, got, out)
	}
	a, b := Describe(t, want), Describe(t, got)
	if !maps.Equal(a, b) {
		unix.Sync() // what is not written yet may have no blocks
		a, b = Describe(t, want), Describe(t, got)
	}
	told := 0
	for _, path := range slices.Sorted(maps.Keys(a)) {
		if a[path] != b[path] && told < 20 {
			t.Errorf("%q\n is %s\nnot %s", path, b[path], a[path])
			told++
		}
	}
	for path := range b {
		if _, ok := a[path]; !ok {
			t.Errorf("%q is too much", path)
		}
	}
}

// RsyncDiff is what the real rsync would do to make the second tree like the
// first; "" if nothing. Times are compared to the nanosecond.
func RsyncDiff(t testing.TB, want, got string) string {
	t.Helper()
	c := exec.Command("rsync", "-aHAXn", "--checksum", "--delete", "--itemize-changes", "--modify-window=-1", want+"/", got+"/")
	var errs bytes.Buffer
	c.Stderr = &errs
	out, err := c.Output()
	if err != nil {
		t.Fatalf("rsync: %v\n%s", err, errs.String())
	}
	return string(out)
}

// Describe tells of every path of a tree, "" the tree itself, all that stat,
// readlink, getxattr and lseek(SEEK_HOLE) tell: not the times of access and
// change, not the number of the inode but the first path that has it, and not
// the sizes of directories.
func Describe(t testing.TB, dir string) map[string]string {
	t.Helper()
	all := map[string]string{}
	first := map[uint64]string{}
	err := filepath.WalkDir(dir, func(path string, _ fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel := strings.TrimPrefix(strings.TrimPrefix(path, dir), "/")
		all[rel], err = describe(path, rel, first)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func describe(path, rel string, first map[uint64]string) (string, error) {
	var st unix.Stat_t
	if err := unix.Lstat(path, &st); err != nil {
		return "", &fs.PathError{Op: "lstat", Path: path, Err: err}
	}
	var b strings.Builder
	fmt.Fprintf(&b, "mode %o owner %d:%d mtime %d.%09d", st.Mode, st.Uid, st.Gid, st.Mtim.Sec, st.Mtim.Nsec)
	kind := st.Mode & unix.S_IFMT
	if kind != unix.S_IFDIR {
		if _, ok := first[st.Ino]; !ok {
			first[st.Ino] = rel
		}
		fmt.Fprintf(&b, " size %d links %d first %q", st.Size, st.Nlink, first[st.Ino])
	}
	switch kind {
	case unix.S_IFREG:
		holes, err := holes(path, st.Size)
		if err != nil {
			return "", err
		}
		fmt.Fprintf(&b, " blocks %d data %s", st.Blocks, holes)
	case unix.S_IFLNK:
		target, err := os.Readlink(path)
		if err != nil {
			return "", err
		}
		fmt.Fprintf(&b, " target %q", target)
	case unix.S_IFCHR, unix.S_IFBLK:
		fmt.Fprintf(&b, " device %d:%d", unix.Major(st.Rdev), unix.Minor(st.Rdev))
	}
	attributes, err := Xattrs(path)
	if err != nil {
		return "", err
	}
	for _, name := range slices.Sorted(maps.Keys(attributes)) {
		fmt.Fprintf(&b, " %q=%x", name, attributes[name])
	}
	return b.String(), nil
}

// holes lists the runs of data of a file.
func holes(path string, size int64) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	var b strings.Builder
	for off := int64(0); off < size; {
		data, err := unix.Seek(int(f.Fd()), off, unix.SEEK_DATA)
		if errors.Is(err, unix.ENXIO) {
			break
		} else if err != nil {
			return "", err
		}
		if off, err = unix.Seek(int(f.Fd()), data, unix.SEEK_HOLE); err != nil {
			return "", err
		}
		fmt.Fprintf(&b, "[%d,%d)", data, off)
	}
	return b.String(), nil
}

// Xattrs are the extended attributes of a file, which may be a symbolic link.
func Xattrs(path string) (map[string][]byte, error) {
	names := make([]byte, 64<<10)
	n, err := unix.Llistxattr(path, names)
	if errors.Is(err, unix.EOPNOTSUPP) {
		return nil, nil
	} else if err != nil {
		return nil, &fs.PathError{Op: "listxattr", Path: path, Err: err}
	}
	all := map[string][]byte{}
	for name := range strings.SplitSeq(strings.TrimSuffix(string(names[:n]), "\x00"), "\x00") {
		if name == "" {
			continue
		}
		value := make([]byte, 64<<10)
		n, err := unix.Lgetxattr(path, name, value)
		if err != nil {
			return nil, &fs.PathError{Op: "getxattr " + name, Path: path, Err: err}
		}
		all[name] = value[:n]
	}
	return all, nil
}
