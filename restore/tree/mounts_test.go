package tree_test

import (
	"os"
	"testing"

	"golang.org/x/sys/unix"
	"vaultfs/restore/tree"
)

// A backup that keeps to one file system holds the directories that others are
// mounted on, empty. That is no reason to empty what is mounted there.
func TestWhatIsMountedOnAStoredDirectoryIsNotRemoved(t *testing.T) {
	w := newWorld(t)
	for _, dir := range []string{"source", "source/home", "source/home/below", "source/srv", "dest", "dest/home", "dest/srv", "other", "other/deep", "other/kind"} {
		w.mkdir(dir)
	}
	w.write("source/home/below/file", "stored", 1000)
	stored := w.store("source")

	w.must(unix.Mount("tmpfs", w.path("dest/home"), "tmpfs", 0, ""))
	defer unix.Unmount(w.path("dest/home"), unix.MNT_DETACH)
	w.must(unix.Mount(w.path("other"), w.path("dest/srv"), "", unix.MS_BIND, "")) // of the same file system
	defer unix.Unmount(w.path("dest/srv"), unix.MNT_DETACH)
	w.must(os.MkdirAll(w.path("dest/home/below"), 0o755))
	for _, name := range []string{"dest/home/file", "dest/home/below/surplus", "dest/srv/file", "dest/srv/deep/file", "dest/surplus"} {
		w.write(name, "exists", 1)
	}

	report := w.restore(stored, "dest", tree.Options{Overwrite: tree.Always, Delete: true})
	w.holds(map[string]string{"home/file": "exists", "home/below/surplus": "exists", "home/below/file": "stored", "srv/file": "exists", "srv/deep/file": "exists"})
	if w.exists("dest/surplus") || report.Removed != 1 {
		t.Errorf("report %+v", report)
	}
}
