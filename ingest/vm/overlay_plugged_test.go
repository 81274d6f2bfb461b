package vm

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"vaultfs/internal/testguest"
)

// TestDiskPluggedInAsOverlaysArePutOn plugs one in before the last look at the disks, and after it.
func TestDiskPluggedInAsOverlaysArePutOn(t *testing.T) {
	t.Parallel()
	g := idle(t, testguest.Spec{NoAgent: true, Disks: []testguest.Disk{
		{Format: "qcow2", Bus: "virtio", Size: "64M"}, {Format: "raw", Bus: "scsi", Size: "40M"}}})
	_, d := domainOf(t, g)
	late := filepath.Join(testguest.Dir(t), "late.qcow2")
	shell(t, "qemu-img", "create", "-q", "-f", "qcow2", late, "64M")
	fill(t, late)
	for _, c := range []struct {
		step, says string
	}{
		{"frozen", "as the overlays were prepared"},
		{"asking", "as the overlays were put on"},
	} {
		t.Run(c.step, func(t *testing.T) {
			options := overlayOptions(testguest.Dir(t))
			options.at = func(step string) {
				if step == c.step {
					testguest.Virsh(t, "attach-disk", g.Name, late, "sdb", "--targetbus", "scsi", "--subdriver", "qcow2", "--live")
				}
			}
			r := runOf(t, d, options)
			_, err := beginOverlay(t.Context(), r)
			wantError(t, err, g.Name, "disk sdb was plugged in", c.says, "try again")
			if strings.Contains(err.Error(), "and then") {
				t.Errorf("an overlay was not taken off: %v", err)
			}
			if e := journalOf(t, r); e != nil {
				t.Errorf("left in the journal: %+v", e)
			}
			if xml := testguest.Virsh(t, "dumpxml", g.Name); !strings.Contains(xml, "<source file='"+late+"'") || strings.Contains(xml, overlaysSuffix) || strings.Contains(xml, "late.vaultfs-") {
				t.Errorf("an overlay is left: %s", xml)
			}
			wantEmpty(t, options.ScratchDir)
			testguest.Virsh(t, "detach-disk", g.Name, "sdb", "--live")
			waitFor(t, "the disk to be gone", func() bool { return !strings.Contains(testguest.Virsh(t, "dumpxml", g.Name), "dev='sdb'") })
			if names, err := os.ReadDir(filepath.Dir(late)); err != nil || len(names) != 1 {
				t.Errorf("left beside the image: %v, %v", names, err)
			}
		})
	}
	shell(t, "qemu-img", "check", "-q", late)
	shell(t, "qemu-io", "-f", "qcow2", "-c", "read -P 0x33 20M 7M", late)
}

func TestSameLeft(t *testing.T) {
	a, b := []leftOut{{target: "sda"}}, []leftOut{{target: "sda"}, {target: "sdb"}}
	for _, c := range []struct {
		a, b []leftOut
		want string
	}{{a, a, ""}, {a, b, "sdb"}, {b, a, "sdb"}, {nil, a, "sda"}} {
		if got := sameLeft(c.a, c.b); got != c.want {
			t.Errorf("%v and %v: %q, want %q", c.a, c.b, got, c.want)
		}
	}
}
