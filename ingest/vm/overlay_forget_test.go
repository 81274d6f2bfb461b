package vm

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"vaultfs/internal/testguest"
)

// TestGuestUndefinedUnderItsOverlays loses the guest that the journal tells of: its overlays are kept until another
// guest has its disk, and are taken off there.
func TestGuestUndefinedUnderItsOverlays(t *testing.T) {
	t.Parallel()
	g := idle(t, testguest.Spec{NoAgent: true})
	_, d := domainOf(t, g)
	r := runOf(t, d, overlayOptions(testguest.Dir(t)))
	o, err := beginOverlay(t.Context(), r)
	if err != nil {
		t.Fatal(err)
	}
	(&layered{Guest: g}).write(t, "vda", "write -P 9 40M 1M")
	if err := o.stopReading(); err != nil {
		t.Fatal(err)
	}
	xml := testguest.Virsh(t, "dumpxml", "--inactive", g.Name)
	g.Destroy()
	testguest.Virsh(t, "undefine", g.Name)
	if one := setRightNow(t, r); one.Err == nil || !strings.Contains(one.Err.Error(), "no other has the overlay "+o.made[0].File) || !exists(o.made[0].File) {
		t.Errorf("recover: %+v", one)
	}
	if e := journalOf(t, r); e == nil || len(e.Overlays) != 1 {
		t.Errorf("journal: %+v", e)
	}

	file := filepath.Join(t.TempDir(), "domain.xml")
	if err := os.WriteFile(file, []byte(regexp.MustCompile("<uuid>.*</uuid>").ReplaceAllString(xml, "")), 0o600); err != nil {
		t.Fatal(err)
	}
	testguest.Virsh(t, "define", file)
	g.Start()
	live := liveOptions(testguest.Dir(t))
	live.Connect, live.StateDir = uri, testguest.Dir(t)
	result, err := Ingest(t.Context(), newRepo(t), g.Name, *live)
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(strings.Join(result.Warnings, "; "), "disk vda lies on "+o.made[0].File) {
		t.Errorf("warnings: %q", result.Warnings)
	}

	one := setRightNow(t, r)
	if done := strings.Join(one.Done, "; "); one.Err != nil || !strings.Contains(done, fmt.Sprintf("VM %q had the disk", g.Name)) {
		t.Errorf("recover: %s, %v", done, one.Err)
	}
	for _, inactive := range []string{"", " --inactive"} {
		if now := testguest.Virsh(t, strings.Fields("dumpxml "+g.Name+inactive)...); strings.Contains(now, overlaysSuffix) {
			t.Errorf("an overlay is left: %s", now)
		}
	}
	if e := journalOf(t, r); e != nil {
		t.Errorf("left in the journal: %+v", e)
	}
	wantEmpty(t, r.options.ScratchDir)
	wantState(t, g, "running")
	g.Destroy()
	shell(t, "qemu-io", "-f", "qcow2", "-c", "read -P 9 40M 1M", g.Paths[0])
}

// TestScratchOfAGuestThatIsGone is removed before it is forgotten.
func TestScratchOfAGuestThatIsGone(t *testing.T) {
	testguest.Daemon(t)
	state := testguest.Dir(t)
	const uuid = "6f2b5c1e-0000-4000-8000-000000000001"
	scratch := filepath.Join(state, dirPrefix+uuid)
	j, err := openJournal(state, entry{VM: "gone", UUID: uuid, URI: uri})
	if err == nil {
		err = j.update(func(e *entry) { e.Scratch, e.Freezing = scratch, true })
	}
	if err == nil {
		err = os.MkdirAll(filepath.Join(scratch, "in the way"), 0o700)
	}
	if err != nil {
		t.Fatal(err)
	}
	j.close()
	list, err := Recover(t.Context(), RecoverOptions{StateDir: state})
	if err != nil || len(list) != 1 || list[0].Err == nil || !exists(scratch) {
		t.Errorf("recover: %+v, %v", list, err)
	}
	if e, err := readEntry(j.path); err != nil || e == nil || e.Scratch != scratch || e.Freezing {
		t.Errorf("journal: %+v, %v", e, err)
	}
	if err := os.Remove(filepath.Join(scratch, "in the way")); err != nil {
		t.Fatal(err)
	}
	list, err = Recover(t.Context(), RecoverOptions{StateDir: state})
	if err != nil || len(list) != 1 || list[0].Err != nil || exists(scratch) || exists(j.path) {
		t.Errorf("recover: %+v, %v", list, err)
	}
}
