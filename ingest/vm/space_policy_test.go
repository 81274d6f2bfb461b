package vm

import (
	"fmt"
	"strings"
	"testing"

	"vaultfs/internal/testguest"
)

func TestErrorPolicy(t *testing.T) {
	for policy, unpaused := range map[string]bool{"": false, "stop": false, "enospace": false, "report": true, "ignore": true} {
		attribute := ""
		if policy != "" {
			attribute = fmt.Sprintf(" error_policy='%s'", policy)
		}
		g := guestOf(t, `<disk type='file' device='disk'><driver type='qcow2'`+attribute+`/><source file='/v/a'/><target dev='vda' bus='virtio'/></disk>`)
		r := new(Result)
		tellUnpaused(g, r)
		said := len(r.Warnings) == 1 && strings.Contains(r.Warnings[0], "disk vda has error_policy='"+policy+"'")
		keep := g.keepFree(new(Options))(1 << 30)
		if said != unpaused || unpaused != (keep == leastFreeUnpaused) || unpaused == (keep == leastFree) {
			t.Errorf("policy %q: warnings %q, %d bytes are kept free", policy, r.Warnings, keep)
		}
	}
	for size, want := range map[int64]int64{1 << 30: leastFreeUnpaused, 50 << 30: 5 << 30, 1 << 40: mostFreeUnpaused} {
		if got := keepFreeUnpaused(size); got != want {
			t.Errorf("of %d bytes %d are kept free, want %d", size, got, want)
		}
	}
}

// TestGuestThatWouldSeeNoSpace is not backed up where less is free than such a guest needs, by either method.
func TestGuestThatWouldSeeNoSpace(t *testing.T) {
	t.Parallel()
	g := testguest.Define(t, testguest.Spec{NoAgent: true, Disks: []testguest.Disk{{Format: "qcow2", Bus: "virtio", Size: "64M"}},
		Extra: `<disk type='file' device='disk'><driver name='qemu' type='raw' error_policy='report'/><source file='` + rawImage(t) + `'/><target dev='sdy' bus='scsi'/></disk>`})
	g.Start()
	_, d := domainOf(t, g)
	small := smallFilesystem(t)
	for _, method := range []string{MethodBackup, MethodSnapshot} {
		o := &Options{ScratchDir: small, Method: method, NoQuiesce: true}
		var err error
		if r := runOf(t, d, o); method == MethodBackup {
			_, err = beginLive(t.Context(), r)
		} else {
			_, err = beginOverlay(t.Context(), r)
		}
		wantError(t, err, g.Name, "2048 MiB must stay free", "--scratch-dir")
		wantEmpty(t, small)
	}
}

func rawImage(t *testing.T) string {
	t.Helper()
	path := testguest.Dir(t) + "/reported.raw"
	shell(t, "truncate", "-s", "16M", path)
	return path
}
