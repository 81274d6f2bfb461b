package tree_test

import (
	"os"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
	"vaultfs/restore/tree"
)

// Where a file is to go the user has named something that is none: a device would
// be gone, and what reads from a pipe would wait for ever.
func TestWhatIsNoFileIsNotReplaced(t *testing.T) {
	w := newWorld(t)
	w.mkdir("source")
	w.write("source/file", "stored", 1000)
	w.must(unix.Mkfifo(w.path("source/pipe"), 0o600))
	stored := w.store("source")
	file, err := stored.Find(t.Context(), "file")
	w.must(err)
	w.must(unix.Mkfifo(w.path("pipe"), 0o600))
	w.must(unix.Mknod(w.path("null"), unix.S_IFCHR|0o666, int(unix.Mkdev(1, 3))))
	w.must(os.Symlink("null", w.path("link")))
	for _, dest := range []string{"pipe", "null", "link"} {
		for _, o := range []tree.Overwrite{tree.Always, tree.IfNewer} {
			_, err := tree.Restore(t.Context(), stored, file, w.path(dest), tree.Options{Overwrite: o})
			if err == nil || !strings.Contains(err.Error(), "is not replaced") {
				t.Errorf("%s with %s: %v", dest, o, err)
			}
		}
		if info, err := os.Stat(w.path(dest)); err != nil || info.Mode().IsRegular() {
			t.Errorf("%s is %v now, %v", dest, info, err)
		}
	}
	// A pipe may take the place of another.
	pipe, err := stored.Find(t.Context(), "pipe")
	w.must(err)
	if _, err := tree.Restore(t.Context(), stored, pipe, w.path("pipe"), tree.Options{Overwrite: tree.Always}); err != nil {
		t.Error(err)
	}
}

// A destination that nobody has named is no place to follow links from.
func TestNoFollow(t *testing.T) {
	w := newWorld(t)
	w.mkdir("source")
	w.write("source/file", "stored", 1000)
	stored := w.store("source")
	w.mkdir("victim")
	w.must(os.Symlink("victim", w.path("dest")))
	_, err := tree.Restore(t.Context(), stored, stored.Root(), w.path("dest"), tree.Options{NoFollow: true})
	if err == nil || !strings.Contains(err.Error(), "symbolic link") || w.exists("victim/file") {
		t.Errorf("error %v", err)
	}
	w.restore(stored, "dest", tree.Options{})
	if w.read("victim/file") != "stored" {
		t.Error("a link that the user names is not followed")
	}
}

// Whoever nests directories without end does not make a restore take memory and
// descriptors without end.
func TestRemovingWhatIsVeryDeep(t *testing.T) {
	w := newWorld(t)
	w.mkdir("source")
	stored := w.store("source")
	w.mkdir("dest")
	at, err := unix.Open(w.path("dest"), unix.O_PATH, 0)
	w.must(err)
	for range 4100 {
		w.must(unix.Mkdirat(at, "d", 0o700))
		below, err := unix.Openat(at, "d", unix.O_PATH, 0)
		w.must(err)
		unix.Close(at)
		at = below
	}
	unix.Close(at)
	o := tree.Options{Overwrite: tree.Always, Delete: true}
	report, err := tree.Restore(t.Context(), stored, stored.Root(), w.path("dest"), o)
	w.must(err)
	if len(report.Failures) != 1 || report.Failures[0].Loss != tree.NotRemoved || report.Failures[0].Count != 1 ||
		!strings.Contains(report.Failures[0].First[0].Err.Error(), "lies in 4096 directories") {
		t.Errorf("%d failures", len(report.Failures))
	}
	w.must(os.RemoveAll(w.path("dest")))
}
