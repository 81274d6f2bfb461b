package tree_test

import (
	"strings"
	"testing"

	"vaultfs/internal/testtree"
	"vaultfs/restore/tree"
)

// One file, of any type, becomes DEST or keeps its name in it; a directory
// becomes DEST.
func TestParts(t *testing.T) {
	w := newWorld(t)
	testtree.Make(t, w.path("source"))
	stored := w.store("source")
	w.mkdir("into")
	want := testtree.Describe(t, w.path("source"))
	for from, to := range map[string]string{
		"contents/large": "large", "sparse/odd size": "sparse", "symlinks/dangling": "link", "specials/fifo": "fifo", "specials/null": "null",
		"specials/socket": "socket", "attributes/capable": "capable", "names/new\nline": "into", "symlinks/dir": "into", "links/large": "into", "contents/empty": "into/new name",
	} {
		e, err := stored.Find(t.Context(), from)
		w.must(err)
		report, err := tree.Restore(t.Context(), stored, e, w.path(to), tree.Options{})
		if err != nil || len(report.Failures) > 0 || report.Files+report.Others != 1 {
			t.Errorf("%q: %+v, %v", from, report, err)
		}
		got := to
		if to == "into" {
			got = "into/" + e.Name
		}
		if a, b := alone(want[from]), alone(testtree.Describe(t, w.path(got))[""]); a != b {
			t.Errorf("%q\n is %s\nnot %s", from, b, a)
		}
		if _, err = tree.Restore(t.Context(), stored, e, w.path(to), tree.Options{}); err == nil || !strings.Contains(err.Error(), "exists") {
			t.Errorf("%q again: %v", from, err)
		}
	}
	e, err := stored.Find(t.Context(), "attributes")
	w.must(err)
	_, err = tree.Restore(t.Context(), stored, e, w.path("a directory/"), tree.Options{})
	w.must(err)
	testtree.Same(t, w.path("source/attributes"), w.path("a directory"))
	_, err = tree.Restore(t.Context(), stored, e, w.path("into"), tree.Options{})
	if err == nil || !strings.Contains(err.Error(), "is not empty") {
		t.Errorf("a directory that is not empty: %v", err)
	}
}

// alone is a description without what other files have to do with.
func alone(text string) string {
	before, rest, _ := strings.Cut(text, " links ")
	if _, after, ok := strings.Cut(rest, `" `); ok {
		return before + after
	}
	return before
}

func TestDestinationsThatCannotBe(t *testing.T) {
	w := newWorld(t)
	w.mkdir("source")
	w.write("source/file", "stored", 1)
	stored := w.store("source")
	file, err := stored.Find(t.Context(), "file")
	w.must(err)
	w.write("exists", "exists", 1)
	for dest, part := range map[string]string{
		"absent/x": "create it first", "exists": "is no directory", "exists/x": "not a directory", "": "empty",
	} {
		at := dest
		if dest != "" {
			at = w.path(dest)
		}
		if _, err := tree.Restore(t.Context(), stored, stored.Root(), at, tree.Options{}); err == nil || !strings.Contains(err.Error(), part) {
			t.Errorf("a tree to %q: %v", dest, err)
		}
	}
	for dest, part := range map[string]string{
		"absent/x": "create it first", "absent/": "create it first", "exists": "exists: choose", "exists/x": "not a directory",
	} {
		if _, err := tree.Restore(t.Context(), stored, file, w.path(dest), tree.Options{}); err == nil || !strings.Contains(err.Error(), part) {
			t.Errorf("a file to %q: %v", dest, err)
		}
	}
	if w.read("exists") != "exists" {
		t.Error("what exists was changed")
	}
}
