package vm

import (
	"path/filepath"
	"strings"
	"testing"

	"vaultfs/internal/testguest"
)

// TestOverlayUnderAnImageOfSomebody is one that no definition names, and that is needed all the same.
func TestOverlayUnderAnImageOfSomebody(t *testing.T) {
	t.Parallel()
	g := testguest.Define(t, testguest.Spec{NoAgent: true, Disks: []testguest.Disk{{Format: "qcow2", Bus: "virtio", Size: "64M"}}})
	base, file := filepath.Join(g.Dir, "base.qcow2"), filepath.Join(g.Dir, "overlay.qcow2")
	shell(t, "mv", g.Paths[0], base)
	shell(t, "qemu-img", "create", "-q", "-f", "qcow2", "-b", base, "-F", "qcow2", file)
	shell(t, "qemu-img", "create", "-q", "-f", "qcow2", "-b", file, "-F", "qcow2", g.Paths[0])
	_, d := domainOf(t, g)
	r := runOf(t, d, overlayOptions(testguest.Dir(t)))
	o := overlay{Target: "vda", File: file, Base: base, Format: "qcow2"}
	if err := r.journal.update(func(e *entry) { e.Overlays = []overlay{o} }); err != nil {
		t.Fatal(err)
	}
	if err := mark(o); err != nil {
		t.Fatal(err)
	}
	if one := setRightNow(t, r); one.Err == nil || !strings.Contains(one.Err.Error(), "disk vda lie on it by their headers") || !exists(file) {
		t.Errorf("recover: %+v", one)
	}
	shell(t, "qemu-img", "rebase", "-u", "-f", "qcow2", "-b", base, "-F", "qcow2", g.Paths[0])
	wantSetRight(t, r)
	if exists(file) {
		t.Errorf("%s is left", file)
	}
}
