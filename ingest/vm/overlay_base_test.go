package vm

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"vaultfs/internal/testguest"
)

// TestImageBelowIsAnother tells an image from another in its place, before and after a commit was begun.
func TestImageBelowIsAnother(t *testing.T) {
	path := filepath.Join(t.TempDir(), "vda.raw")
	later := time.Now().Add(time.Hour)
	change := map[string]func() error{
		"nothing":    func() error { return nil },
		"owner":      func() error { return os.Chmod(path, 0o640) },
		"written to": func() error { return os.Chtimes(path, later, later) },
		"grown":      func() error { return os.Truncate(path, 8192) },
		"shrunk":     func() error { return os.Truncate(path, 512) },
		"replaced":   func() error { return os.Rename(path+".other", path) },
	}
	for name, want := range map[string][2]bool{ // refused before, refused after
		"nothing": {}, "owner": {}, "written to": {true, false}, "grown": {true, false}, "shrunk": {true, true}, "replaced": {true, true},
	} {
		for _, file := range []string{path, path + ".other"} {
			if err := os.WriteFile(file, make([]byte, 4096), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		was, err := underOf(path)
		if err == nil {
			err = change[name]()
		}
		if err != nil {
			t.Fatal(err)
		}
		o := overlay{Base: path, Under: was}
		for i, written := range []bool{false, true} {
			if err := o.mustBeItsBase(written); (err != nil) != want[i] {
				t.Errorf("%s, written %v: %v", name, written, err)
			} else if err != nil {
				wantError(t, err, path, "another file now", "virsh edit")
			}
		}
		o.Under = under{} // an entry of an older vaultfs
		if err := o.mustBeItsBase(false); err != nil {
			t.Error(err)
		}
	}
	gone := overlay{Base: path + ".gone"}
	wantError(t, gone.mustBeItsBase(false), path+".gone", "is not there")
}

// After the host was started again device numbers are others.
func TestImageBelowAfterAReboot(t *testing.T) {
	was := under{Boot: "a", Dev: 1, Ino: 2, Size: 3}
	if what := was.differs(under{Boot: "b", Dev: 7, Ino: 2, Size: 3}, false); what != "" {
		t.Error(what)
	}
	if what := was.differs(under{Boot: "a", Dev: 7, Ino: 2, Size: 3}, false); what == "" {
		t.Error("another file system in one boot is not seen")
	}
	if what := (under{Device: true, Size: 3}).differs(under{Device: true, Size: 4}, true); what == "" {
		t.Error("another block device is not seen")
	}
}

// replaceBelow puts yesterday's disk in the place of an image, and gives the function that puts the image back.
func (l *layered) replaceBelow(t *testing.T, i int) (back func()) {
	t.Helper()
	path := l.Paths[i]
	shell(t, "mv", path, path+".old")
	shell(t, "cp", path+".old", path)
	sum := sumOf(t, path)
	return func() {
		t.Helper()
		if sumOf(t, path) != sum {
			t.Errorf("an overlay was committed into %s, which it does not belong to", path)
		}
		shell(t, "mv", path+".old", path)
	}
}

func replacedBelowAndDestroyed(t *testing.T, g *layered, o *overlays, r *run) {
	g.Destroy()
	back := g.replaceBelow(t, 0)
	wantError(t, o.close(), g.Name, "disk vda", "another file now", g.Paths[0], "virsh edit", "do not remove it")
	if e := journalOf(t, r); e == nil || len(e.Overlays) != 1 || e.Overlays[0].Target != "vda" || e.Overlays[0].Begun {
		t.Errorf("journal: %+v", e)
	}
	if one := setRightNow(t, r); one.Err == nil || !exists(o.dir.file("vda")) {
		t.Errorf("recover: %+v", one)
	}
	back()
	wantSetRight(t, r)
}

func replacedBelow(t *testing.T, g *layered, o *overlays, r *run) {
	back := g.replaceBelow(t, 1)
	wantError(t, o.close(), g.Name, "disk sda", "another file now", g.Paths[1], "blockcopy")
	if xml := testguest.Virsh(t, "dumpxml", g.Name); strings.Contains(xml, "<mirror") || strings.Count(xml, overlaysSuffix) != 1 {
		t.Errorf("a commit was begun, or given up for the others too: %s", xml)
	}
	back()
	wantSetRight(t, r)
	wantState(t, g.Guest, "running")
}
