package vm

import (
	"strings"
	"testing"

	"vaultfs/internal/testguest"
)

// What an agent does not answer keeps no backup back: the thaw is tried again the next time, and is over with that run
// of the guest.
func TestThawThatNobodyAnswers(t *testing.T) {
	t.Parallel()
	g := idle(t, testguest.Spec{NoAgent: true})
	r, o := newRepo(t), Options{Connect: uri, ScratchDir: testguest.Dir(t), StateDir: testguest.Dir(t)}
	_, d := domainOf(t, g)
	left := func(which string) {
		t.Helper()
		uuid, _ := d.GetUUIDString()
		j, err := openJournal(o.StateDir, entry{VM: g.Name, UUID: uuid, URI: uri})
		if err != nil {
			t.Fatal(err)
		}
		defer j.close()
		if err := j.update(func(e *entry) { e.Freezing, e.Running = true, which }); err != nil {
			t.Fatal(err)
		}
	}
	left(running(d))
	result, err := Ingest(t.Context(), r, g.Name, o)
	if err != nil {
		t.Fatal(err)
	}
	if len(result.Warnings) == 0 || !strings.Contains(result.Warnings[0], "may still be frozen") {
		t.Errorf("warnings: %q", result.Warnings)
	}
	list, err := Recover(t.Context(), RecoverOptions{StateDir: o.StateDir})
	if err != nil || len(list) != 1 || list[0].Err == nil {
		t.Errorf("%+v %v: the entry should have stayed", list, err)
	}
	g.Destroy()
	g.Start()
	if result, err = Ingest(t.Context(), r, g.Name, o); err != nil || len(result.Warnings) > 0 {
		t.Errorf("%+v %v", result, err)
	}
	if list, err := Recover(t.Context(), RecoverOptions{StateDir: o.StateDir}); err != nil || len(list) > 0 {
		t.Errorf("%+v %v: the entry should be gone", list, err)
	}
	wantState(t, g, "running")
}
