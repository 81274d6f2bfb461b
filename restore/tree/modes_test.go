package tree_test

import (
	"errors"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
	"vaultfs/internal/testtree"
	"vaultfs/repo"
	"vaultfs/restore/tree"
)

// versions makes a snapshot of files from the second 1000, and a directory that
// has older ones, newer ones, others and none of some.
func versions(t *testing.T) (*world, *repo.Tree) {
	w := newWorld(t)
	for _, dir := range []string{"source", "source/dir", "source/gone", "dest", "dest/dir", "dest/extra", "dest/extra/below"} {
		w.mkdir(dir)
	}
	w.write("source/older", "stored", 1000)
	w.write("source/newer", "stored", 1000)
	w.write("source/same", "stored", 1000)
	w.write("source/missing", "stored", 1000)
	w.write("source/dir/older", "stored", 1000)
	w.write("source/gone/file", "stored", 1000)
	w.must(os.Symlink("stored", w.path("source/link")))
	w.touch("source/link", 1000)
	w.must(os.Chmod(w.path("source/dir"), 0o750))

	w.write("dest/older", "exists", 999)
	w.write("dest/newer", "exists", 1001)
	w.write("dest/same", "exists", 1000)
	w.write("dest/dir/older", "exists", 999)
	w.must(os.Symlink("exists", w.path("dest/link")))
	w.touch("dest/link", 999)
	w.write("dest/surplus", "exists", 1)
	w.write("dest/extra/file", "exists", 1)
	w.write("dest/extra/below/file", "exists", 1)
	for _, dir := range []string{"source/dir", "source/gone", "source", "dest/dir", "dest"} {
		w.touch(dir, 500)
	}
	return w, w.store("source")
}

func (w *world) holds(want map[string]string) {
	w.Helper()
	for name, content := range want {
		if got := w.read("dest/" + name); got != content {
			w.Errorf("%s holds %q, want %q", name, got, content)
		}
	}
}

func (w *world) exists(name string) bool {
	_, err := os.Lstat(w.path(name))
	return err == nil
}

func TestWhatExistsIsRefused(t *testing.T) {
	w, stored := versions(t)
	before := testtree.Describe(t, w.path("dest"))
	_, err := tree.Restore(t.Context(), stored, stored.Root(), w.path("dest"), tree.Options{})
	if err == nil || !strings.Contains(err.Error(), "is not empty") || !strings.Contains(err.Error(), "--overwrite") {
		t.Errorf("error %v", err)
	}
	if !maps.Equal(before, testtree.Describe(t, w.path("dest"))) {
		t.Error("something changed")
	}
	for _, o := range []tree.Options{{Overwrite: "sometimes"}, {Delete: true}, {Delete: true, Overwrite: tree.Never}} {
		if _, err := tree.Restore(t.Context(), stored, stored.Root(), w.path("dest"), o); !errors.Is(err, tree.ErrUsage) {
			t.Errorf("%+v: %v", o, err)
		}
	}
}

func TestNever(t *testing.T) {
	w, stored := versions(t)
	report := w.restore(stored, "dest", tree.Options{Overwrite: tree.Never})
	w.holds(map[string]string{"older": "exists", "newer": "exists", "same": "exists", "missing": "stored", "dir/older": "exists", "gone/file": "stored", "surplus": "exists"})
	if report.Kept != 5 || report.Files != 2 || report.Dirs != 1 || report.Replaced != 0 {
		t.Errorf("report %+v", report)
	}
	if info, err := os.Stat(w.path("dest/dir")); err != nil || info.Mode().Perm() != 0o755 {
		t.Errorf("dest/dir: %v %v", info, err)
	}
}

func TestIfNewer(t *testing.T) {
	w, stored := versions(t)
	report := w.restore(stored, "dest", tree.Options{Overwrite: tree.IfNewer})
	w.holds(map[string]string{"older": "stored", "newer": "exists", "same": "exists", "missing": "stored", "dir/older": "stored", "surplus": "exists"})
	if target, err := os.Readlink(w.path("dest/link")); err != nil || target != "stored" {
		t.Errorf("link to %q: %v", target, err)
	}
	if report.Kept != 2 || report.Replaced != 3 || report.Files != 4 {
		t.Errorf("report %+v", report)
	}
}

func TestAlways(t *testing.T) {
	w, stored := versions(t)
	w.restore(stored, "dest", tree.Options{Overwrite: tree.Always})
	w.holds(map[string]string{"older": "stored", "newer": "stored", "same": "stored", "surplus": "exists", "extra/below/file": "exists"})
	report := w.restore(stored, "dest", tree.Options{Overwrite: tree.Always, Delete: true})
	testtree.Same(t, w.path("source"), w.path("dest"))
	if report.Removed != 5 {
		t.Errorf("report %+v", report)
	}
}

func TestDeleteWithIfNewer(t *testing.T) {
	w, stored := versions(t)
	w.restore(stored, "dest", tree.Options{Overwrite: tree.IfNewer, Delete: true})
	w.holds(map[string]string{"older": "stored", "newer": "exists"})
	if w.exists("dest/surplus") || w.exists("dest/extra") {
		t.Error("what the snapshot does not hold is there")
	}
}

// What a dry run says is what a restore then does.
func TestDryRun(t *testing.T) {
	for _, o := range []tree.Options{
		{Overwrite: tree.Never}, {Overwrite: tree.IfNewer}, {Overwrite: tree.Always}, {Overwrite: tree.Always, Delete: true},
	} {
		w, stored := versions(t)
		before := testtree.Describe(t, w.path("dest"))
		did := func(dry bool) (did []string) {
			o.DryRun, o.Each = dry, func(a tree.Action, path string) { did = append(did, string(a)+" "+path) }
			w.restore(stored, "dest", o)
			slices.Sort(did)
			return did
		}
		planned := did(true)
		if !maps.Equal(before, testtree.Describe(t, w.path("dest"))) {
			t.Errorf("%s: a dry run changed something", o.Overwrite)
		}
		if done := did(false); len(done) == 0 || !slices.Equal(planned, done) {
			t.Errorf("%s: planned\n%s\nand did\n%s", o.Overwrite, strings.Join(planned, "\n"), strings.Join(done, "\n"))
		}
	}
	w, stored := versions(t)
	report := w.restore(stored, "nothing", tree.Options{DryRun: true})
	if w.exists("nothing") || report.Files != 6 || report.Dirs != 2 || report.Others != 1 {
		t.Errorf("report %+v", report)
	}
}

// Files where directories belong, and the other way round.
func TestTypesThatDiffer(t *testing.T) {
	make := func() (*world, *repo.Tree) {
		w := newWorld(t)
		for _, dir := range []string{"source", "source/a", "source/b", "dest", "dest/c", "dest/d", "outside"} {
			w.mkdir(dir)
		}
		w.write("source/a/file", "stored", 1000)
		w.write("source/b/file", "stored", 1000)
		w.write("source/c", "stored", 1000)
		w.write("source/d", "stored", 1000)
		w.write("dest/a", "exists", 1)
		w.must(os.Symlink(w.path("outside"), w.path("dest/b")))
		w.write("dest/d/below", "exists", 1)
		return w, w.store("source")
	}
	w, stored := make()
	report, err := tree.Restore(t.Context(), stored, stored.Root(), w.path("dest"), tree.Options{Overwrite: tree.Never})
	if err != nil || len(report.Failures) != 1 || report.Failures[0].Loss != tree.NotRestored || report.Failures[0].Count != 2 || report.Kept != 2 {
		t.Errorf("never: %+v, %v", report, err)
	}
	report, err = tree.Restore(t.Context(), stored, stored.Root(), w.path("dest"), tree.Options{Overwrite: tree.Always})
	if err != nil || len(report.Failures) != 1 || report.Failures[0].Count != 1 || !strings.Contains(report.Failures[0].First[0].Err.Error(), "--delete") {
		t.Errorf("always: %+v, %v", report, err)
	}
	w.holds(map[string]string{"a/file": "stored", "b/file": "stored", "c": "stored", "d/below": "exists"})
	w.restore(stored, "dest", tree.Options{Overwrite: tree.Always, Delete: true})
	testtree.Same(t, w.path("source"), w.path("dest"))
	if names, err := os.ReadDir(w.path("outside")); err != nil || len(names) > 0 {
		t.Errorf("a symbolic link was followed: %v, %v", names, err)
	}
}

func TestWhatIsMountedBelowIsNotRemoved(t *testing.T) {
	w, stored := versions(t)
	w.mkdir("other")
	w.write("other/file", "exists", 1)
	for _, m := range []struct{ from, to, kind string }{{"tmpfs", "dest/extra/below", "tmpfs"}, {w.path("other"), "dest/dir/mounted", ""}} {
		if !w.exists(m.to) {
			w.mkdir(m.to)
		}
		flags := uintptr(0)
		if m.kind == "" {
			flags = unix.MS_BIND
		}
		w.must(unix.Mount(m.from, w.path(m.to), m.kind, flags, ""))
		defer unix.Unmount(w.path(m.to), unix.MNT_DETACH)
	}
	w.write("dest/extra/below/file", "exists", 1)
	report, err := tree.Restore(t.Context(), stored, stored.Root(), w.path("dest"), tree.Options{Overwrite: tree.Always, Delete: true})
	if err != nil || len(report.Failures) != 1 || report.Failures[0].Loss != tree.NotRemoved || report.Failures[0].Count != 2 {
		t.Errorf("report %+v, %v", report, err)
	}
	w.holds(map[string]string{"extra/below/file": "exists", "dir/mounted/file": "exists", "older": "stored"})
	if w.exists("dest/extra/file") {
		t.Error("what lies beside the mount was not removed")
	}
}
