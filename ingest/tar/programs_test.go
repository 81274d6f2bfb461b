package tar

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
	"vaultfs/internal/testrepo"
	"vaultfs/internal/testtree"
)

// What programs make of the nasty tree is stored as GNU tar extracts it.
func TestWhatProgramsMake(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "tree")
	testtree.Make(t, dir)
	// 3000 small files in each archive take time and test nothing new.
	run(t, "sh", "-c", "find '"+dir+"' -type s -delete; rm -r '"+dir+"/many'")
	all := []string{"--xattrs", "--xattrs-include=*", "--acls"}
	for name, pack := range map[string][]string{
		"gnu":           append([]string{"tar", "--format=gnu"}, "--sparse"),
		"oldgnu":        {"tar", "--format=oldgnu"},
		"posix":         append([]string{"tar", "--format=posix", "--sparse"}, all...),
		"posix, 0.0":    {"tar", "--format=posix", "--sparse", "--sparse-version=0.0"},
		"posix, 0.1":    {"tar", "--format=posix", "--sparse", "--sparse-version=0.1"},
		"v7":            {"tar", "--format=v7"},
		"bsdtar pax":    {"bsdtar", "--format=pax", "--acls", "--xattrs"},
		"bsdtar gnutar": {"bsdtar", "--format=gnutar"},
		"bsdtar ustar":  {"bsdtar", "--format=ustar"},
		"busybox":       {"busybox", "tar"},
	} {
		t.Run(name, func(t *testing.T) {
			archive := filepath.Join(t.TempDir(), "archive.tar")
			c := exec.Command(pack[0], append(pack[1:], "-c", "-f", archive, "-C", dir, ".")...)
			c.Env = append(os.Environ(), "LC_ALL=C.UTF-8")
			if out, err := c.CombinedOutput(); err != nil {
				t.Logf("%q: %v\n%.1000s", c.Args, err, out) // what the format cannot hold it leaves out
			}
			want := t.TempDir()
			extract := []string{"tar", "--xattrs", "--xattrs-include=*", "--acls", "--numeric-owner", "--warning=no-timestamp"}
			if pack[0] == "bsdtar" { // whose order of members takes the times of directories from GNU tar
				extract = []string{"bsdtar", "--xattrs", "--acls", "--numeric-owner"}
			}
			c = exec.Command(extract[0], append(extract[1:], "-xp", "-C", want, "-f", archive)...)
			c.Env = append(os.Environ(), "LC_ALL=C.UTF-8")
			if out, err := c.CombinedOutput(); err != nil {
				t.Logf("%q: %v\n%.1000s", c.Args, err, out)
			}
			tree, made := ingested(t, testrepo.New(t), archive)
			if len(made.Warnings) > 0 {
				t.Errorf("warnings:\n%s", strings.Join(made.Warnings, "\n"))
			}
			got := restored(t, tree)
			if pack[0] == "bsdtar" {
				asBsdtar(t, got, want)
			}
			testtree.Same(t, want, got)
		})
	}
}

// asBsdtar takes the times from a tree that bsdtar has extracted where it has a
// way of its own: it leaves those of "." and of directories without a member
// alone, and in those before 1970 it takes the fraction to come after the second.
func asBsdtar(t *testing.T, from, to string) {
	t.Helper()
	names, err := filepath.Glob(from + "/modes/* dir")
	if err != nil || len(names) == 0 {
		t.Fatal(names, err)
	}
	names = append(names, from, from+"/times/before 1970", from+"/times/just before 1970", from+"/times/directory")
	for _, name := range names {
		var st unix.Stat_t
		if err := unix.Lstat(name, &st); err == unix.ENOENT {
			continue // the format cannot hold it
		} else if err != nil {
			t.Fatal(err)
		}
		if err := unix.UtimesNanoAt(unix.AT_FDCWD, to+strings.TrimPrefix(name, from), []unix.Timespec{st.Atim, st.Mtim}, unix.AT_SYMLINK_NOFOLLOW); err != nil {
			t.Fatal(err)
		}
	}
}
