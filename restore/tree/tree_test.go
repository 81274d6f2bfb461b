package tree_test

import (
	"testing"

	"vaultfs/internal/testtree"
	"vaultfs/repo"
	"vaultfs/restore"
	"vaultfs/restore/tree"
)

// restore restores all of a tree, and fails unless that is without any loss.
func (w *world) restore(t *repo.Tree, dest string, o tree.Options) *tree.Report {
	w.Helper()
	report, err := tree.Restore(w.Context(), t, t.Root(), w.path(dest), o)
	w.must(err)
	for _, f := range report.Failures {
		w.Errorf("%s: %d: %q", f.Loss, f.Count, f.First)
	}
	return report
}

func TestEverythingComesBack(t *testing.T) {
	w := newWorld(t)
	testtree.Make(t, w.path("source"))
	stored := w.store("source")
	p := new(restore.Progress)
	report := w.restore(stored, "dest", tree.Options{Progress: p})
	testtree.Same(t, w.path("source"), w.path("dest"))
	below := stored.Root().Below
	if got := (repo.Totals{Files: uint64(report.Files), Dirs: uint64(report.Dirs), Others: uint64(report.Others), Bytes: below.Bytes}); got != below {
		t.Errorf("restored %+v of %+v", got, below)
	}
	if report.Links != 9 || report.Replaced+report.Kept+report.Removed != 0 {
		t.Errorf("report %+v", report)
	}
	if p.Total.Load() != p.Done.Load() || p.Total.Load() != int64(below.Bytes) {
		t.Errorf("progress %d of %d, %d bytes", p.Done.Load(), p.Total.Load(), below.Bytes)
	}

	// Once more over itself: everything is replaced, and is the same again.
	report = w.restore(stored, "dest", tree.Options{Overwrite: tree.Always, Delete: true})
	testtree.Same(t, w.path("source"), w.path("dest"))
	if report.Replaced != report.Files+report.Others || report.Dirs != 0 || report.Removed != 0 {
		t.Errorf("report %+v", report)
	}
	for _, o := range []tree.Overwrite{tree.Never, tree.IfNewer} {
		report = w.restore(stored, "dest", tree.Options{Overwrite: o})
		if report.Files+report.Dirs+report.Others != 0 || report.Kept != int64(below.Files+below.Others) {
			t.Errorf("%s: report %+v", o, report)
		}
		testtree.Same(t, w.path("source"), w.path("dest"))
	}
}
