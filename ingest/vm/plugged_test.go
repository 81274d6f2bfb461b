package vm

import (
	"testing"

	"vaultfs/internal/testguest"
)

// A disk that only the definition has is not in a backup of the running guest, however that is read.
func TestDiskThatIsPluggedInAtTheNextStart(t *testing.T) {
	t.Parallel()
	g := idle(t, testguest.Spec{NoAgent: true})
	next := g.Dir + "/next.raw"
	shell(t, "truncate", "-s", "1M", next)
	testguest.Virsh(t, "attach-disk", g.Name, next, "vdb", "--config")
	r := newRepo(t)
	for _, method := range []string{MethodBackup, MethodSnapshot} {
		result, err := Ingest(t.Context(), r, g.Name, Options{
			Connect: uri, Mode: ModeLive, Method: method, NoQuiesce: true, StateDir: t.TempDir(), ScratchDir: testguest.Dir(t), keepFree: nothing,
		})
		if err != nil {
			t.Fatal(err)
		}
		if len(result.Disks) != 1 || !hasText(result.Warnings, g.Name, "disk vdb ("+next+") is plugged in at the next start only; it is not in this backup") {
			t.Errorf("%s: disks %+v, warnings %q", method, result.Disks, result.Warnings)
		}
		if !hasText(result.Snapshot.Info.Notes, "disk vdb", "plugged in at the next start only") {
			t.Errorf("%s: the snapshot says %q", method, result.Snapshot.Info.Notes)
		}
	}
}
