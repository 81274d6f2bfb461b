package vm

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"vaultfs/internal/testguest"
)

// TestLibvirtdRestartedUnderOverlays restarts the daemon at each step of a backup, at every other one in each of two. The
// guest, and QEMU's commit, go on.
func TestLibvirtdRestartedUnderOverlays(t *testing.T) {
	t.Parallel()
	d, image := startOwnGuest(t)
	r, state := newRepo(t), testguest.Dir(t)
	for i, steps := range [][]string{{"journal", "begun", "read", "ready", "pivoted"}, {"frozen", "reading", "committing", "marked", "ended"}} {
		t.Run(strings.Join(steps, " "), func(t *testing.T) {
			meanwhile := fmt.Sprintf("write -P %d 50M 64k", 40+i)
			result, err := Ingest(t.Context(), r, d.guest, Options{Connect: d.uri, StateDir: state, Method: MethodSnapshot, NoQuiesce: true, at: func(now string) {
				if now == "reading" {
					d.virsh("qemu-monitor-command", d.guest, "--hmp", `qemu-io -d /machine/peripheral/virtio-disk0/virtio-backend "`+meanwhile+`"`)
				}
				if slices.Contains(steps, now) {
					d.stop()
					d.start()
				}
			}})
			if err != nil {
				t.Fatal(err)
			}
			if result.Method != MethodSnapshot || len(result.Warnings) > 0 {
				t.Errorf("method %s, warnings %q", result.Method, result.Warnings)
			}
			if is := d.virsh("domstate", d.guest); is != "running" {
				t.Errorf("guest is %q", is)
			}
			for _, inactive := range []string{"", "--inactive"} {
				if xml := d.virsh(append([]string{"dumpxml", d.guest}, strings.Fields(inactive)...)...); strings.Contains(xml, overlaysSuffix) || !strings.Contains(xml, image) {
					t.Errorf("dumpxml %s: %s", inactive, xml)
				}
			}
			wantEmpty(t, filepath.Join(state, "scratch"))
			if left, err := leftEntries(state); err != nil || len(left) > 0 {
				t.Errorf("left in the journal: %v %v", left, err)
			}
			d.virsh("qemu-monitor-command", d.guest, "--hmp", `qemu-io -d /machine/peripheral/virtio-disk0/virtio-backend "flush"`)
			raw := restore(t, r, result.Snapshot, "vda")
			shell(t, "qemu-io", "-f", "raw", "-c", meanwhile, raw)
			shell(t, "qemu-img", "compare", "-U", "-f", "raw", "-F", "qcow2", raw, image)
		})
	}
}
