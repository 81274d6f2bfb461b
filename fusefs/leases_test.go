package fusefs

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"vaultfs/repo"
)

// forget takes a snapshot out of the list, as a mark does, and has the lease refuse
// it from now on.
func (r *fakeRepository) forget(id string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.snapshots = slices.DeleteFunc(slices.Clone(r.snapshots), func(s *repo.Snapshot) bool { return s.ID == id })
	r.pin.mu.Lock()
	defer r.pin.mu.Unlock()
	gone := map[string]bool{id: true}
	for id := range r.pin.gone {
		gone[id] = true
	}
	r.pin.gone = gone
}

// eventually waits until something is so.
func eventually(t *testing.T, what string, so func() bool) {
	t.Helper()
	for end := time.Now().Add(10 * time.Second); !so(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("never: " + what)
		}
	}
}

// A forgotten snapshot is held as long as something of it is open, and no longer.
func TestForgottenWhileOpen(t *testing.T) {
	t.Parallel()
	r := newFakeRepository()
	dir, reported := mount(t, r, Options{})
	first, second := hexID("vm/win11", 1), hexID("vm/win11", 2)
	for _, name := range []string{raw, "vm/win11/2026-11-21T13-00-00Z/domain.xml"} {
		if _, err := os.Stat(filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	f, err := os.Open(filepath.Join(dir, raw))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	d, err := os.Open(filepath.Join(dir, firstSnap, "disks"))
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	r.forget(first)
	eventually(t, "it is not listed any more", func() bool {
		_, err := os.Stat(filepath.Join(dir, firstSnap))
		return errors.Is(err, os.ErrNotExist)
	})
	pinned := func(id string) bool {
		ids, _ := r.current().state()
		return slices.Contains(ids, id)
	}
	stays := func(what string) {
		t.Helper()
		time.Sleep(5 * sweepEvery)
		if !pinned(first) || !pinned(second) {
			t.Errorf("given up while %s", what)
		}
	}
	stays("a file and a directory are open")
	p := make([]byte, 100000)
	if _, err := f.ReadAt(p, 1<<20); err != nil {
		t.Error(err)
	}
	mustEqual(t, "open file", p, r.disks["vda"].bytes(t)[1<<20:][:len(p)])
	if info, err := f.Stat(); err != nil || info.Size() != r.disks["vda"].size {
		t.Errorf("%v, %v", info, err)
	}
	f.Close()
	stays("a directory is open")
	if names, err := d.Readdirnames(-1); err != nil || len(names) != 4 {
		t.Errorf("%q, %v", names, err)
	}
	d.Close()
	eventually(t, "it is given up", func() bool { return !pinned(first) })
	if !pinned(second) {
		t.Error("given up, though it was not forgotten")
	}
	if reported.String() != "" {
		t.Errorf("reported %s", reported)
	}
}

// A process that stands in a forgotten snapshot finds nothing there any more, and
// is not taken for one that met damage.
func TestForgottenWhileInside(t *testing.T) {
	t.Parallel()
	r := newFakeRepository()
	dir, reported := mount(t, r, Options{})
	cmd := `cd "$1"; cat domain.xml >/dev/null; echo in; read go; ls disks/vdb.raw tpm; cat domain.xml; cat disks/vda.raw | wc -c`
	sh := newConversation(t, "sh", "-c", cmd, "sh", filepath.Join(dir, firstSnap))
	if got := sh.line(t); got != "in" {
		t.Fatalf("it says %q", got)
	}
	r.forget(hexID("vm/win11", 1))
	eventually(t, "it is given up", func() bool {
		ids, _ := r.current().state()
		return len(ids) == 0
	})
	if got := sh.rest(t, "go\n"); got != "0\n" {
		t.Errorf("it reads %q", got)
	}
	want := firstSnap + " cannot be entered any more: it was forgotten, and what only it needed is being removed or is gone"
	if got := reported.String(); got != want {
		t.Errorf("reported %q", got)
	}
}

// Somebody breaks the mount's lease: it takes another, on what there still is.
func TestBrokenLease(t *testing.T) {
	t.Parallel()
	r := newFakeRepository()
	dir, reported := mount(t, r, Options{})
	for _, name := range []string{raw, "vm/win11/2026-11-21T13-00-00Z/domain.xml"} {
		if _, err := os.Stat(filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	old := r.current()
	r.forget(hexID("vm/win11", 1))
	old.mu.Lock()
	old.broken = true
	old.mu.Unlock()
	eventually(t, "there is another lease", func() bool { return r.current() != old })
	eventually(t, "it names what there still is", func() bool {
		ids, _ := r.current().state()
		return slices.Equal(ids, []string{hexID("vm/win11", 2)})
	})
	if _, released := old.state(); !released {
		t.Error("the old lease is not given back")
	}
	if got := reported.String(); !strings.HasPrefix(got, "the read lease of this mount was broken: ") || strings.Contains(got, "\n") {
		t.Errorf("reported %q", got)
	}
}

// Where the repository cannot be listed as a whole, nothing is given up.
func TestUnreadableIsNotForgotten(t *testing.T) {
	t.Parallel()
	r := newFakeRepository()
	dir, _ := mount(t, r, Options{})
	if _, err := os.Stat(filepath.Join(dir, raw)); err != nil {
		t.Fatal(err)
	}
	r.mu.Lock()
	r.snapshots = r.snapshots[1:]
	r.unlisted = &repo.DamageError{Object: "snapshot 77", Err: errors.New("cut off")}
	r.mu.Unlock()
	time.Sleep(freshness + 5*sweepEvery)
	if ids, _ := r.current().state(); len(ids) != 1 {
		t.Errorf("pinned are %q", ids)
	}
}
