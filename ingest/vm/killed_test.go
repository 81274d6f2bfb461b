package vm

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"vaultfs/internal/testguest"
)

func TestJobOfAKilledRunIsEnded(t *testing.T) {
	t.Parallel()
	g := idle(t, testguest.Spec{NoAgent: true})
	_, d := domainOf(t, g)
	dir := testguest.Dir(t)
	startChild(t, "begin", g, dir)()
	testguest.Virsh(t, "backup-dumpxml", g.Name) // the job outlives its process

	l, err := beginLive(t.Context(), runOf(t, d, liveOptions(dir)))
	if err != nil {
		t.Fatal(err)
	}
	wantNote(t, l, "ended the backup job")
	if err := l.close(); err != nil {
		t.Error(err)
	}
	wantNoJob(t, g, dir)
	wantState(t, g, "running")
}

// killedWhileFrozen kills a process that holds the guest frozen.
func killedWhileFrozen(t *testing.T, g *testguest.Guest) {
	kill := startChild(t, "freeze", g, "-")
	if !g.Frozen() {
		t.Error("guest is not frozen")
	}
	kill()
	killed := time.Now()
	for g.Frozen() {
		if time.Since(killed) > 10*time.Second {
			t.Fatal("guest is still frozen 10 s after its freezer was killed")
		}
		time.Sleep(100 * time.Millisecond)
	}
	t.Logf("thawed %v after the kill", time.Since(killed).Round(time.Millisecond))
}

// foundFrozen is a guest that was left frozen with nobody to thaw it, so that the next run must.
func foundFrozen(t *testing.T, g *testguest.Guest) {
	_, d := domainOf(t, g)
	for name, c := range map[string]struct {
		noQuiesce bool
		leave     bool // the killed run's directory
		note      string
	}{
		"by its refusal":                       {note: "found frozen"},
		"by a directory":                       {leave: true, note: "was killed"},
		"by a directory, nothing to be frozen": {leave: true, noQuiesce: true, note: "was killed"},
	} {
		dir := testguest.Dir(t)
		g.Agent(`{"execute":"guest-fsfreeze-freeze"}`)
		if !g.Frozen() {
			t.Errorf("%s: guest is not frozen", name)
		}
		if uuid, err := d.GetUUIDString(); err != nil {
			t.Fatal(err)
		} else if c.leave {
			if err := os.Mkdir(filepath.Join(dir, dirPrefix+uuid), 0o700); err != nil {
				t.Fatal(err)
			}
		}
		l, err := beginLive(t.Context(), runOf(t, d, &Options{ScratchDir: dir, NoQuiesce: c.noQuiesce}))
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if g.Frozen() {
			t.Errorf("%s: guest is still frozen", name)
		}
		if l.quiesce.frozen == c.noQuiesce {
			t.Errorf("%s: %+v", name, l.quiesce)
		}
		wantNote(t, l, c.note)
		if err := l.close(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// killedWhileStalled kills a process whose scratch space is full, and the guest paused for that.
func killedWhileStalled(t *testing.T, g *testguest.Guest, dir string) {
	_, d := domainOf(t, g)
	kill := startChild(t, "begin", g, dir)
	overwrite(g)
	waitFor(t, "the guest to stall", func() bool { return stalled(d) })
	kill()
	l, err := beginLive(t.Context(), runOf(t, d, &Options{ScratchDir: dir, keepFree: nothing, NoQuiesce: true}))
	if err != nil {
		t.Fatal(err)
	}
	wantNote(t, l, "ended the backup job")
	wantNote(t, l, "resumed the guest")
	if err := l.close(); err != nil {
		t.Error(err)
	}
	wantNoJob(t, g, dir)
	wantState(t, g, "running")
	wantWritten(t, g)
}

// stallsAtTheEnd stalls a guest after the last look at it, and makes the end of the job fail besides.
func stallsAtTheEnd(t *testing.T, g *testguest.Guest, dir string) {
	_, d := domainOf(t, g)
	l, err := beginLive(t.Context(), runOf(t, d, &Options{ScratchDir: dir, keepFree: nothing, NoQuiesce: true}))
	if err != nil {
		t.Fatal(err)
	}
	overwrite(g)
	waitFor(t, "the guest to stall", func() bool { return stalled(d) })
	stray := filepath.Join(l.scratch.dir, "stray")
	if err := os.Mkdir(stray, 0o700); err != nil {
		t.Fatal(err)
	}
	wantError(t, l.close(), g.Name, stray)
	wantState(t, g, "running")
	if err := os.RemoveAll(l.scratch.dir); err != nil {
		t.Fatal(err)
	}
	wantNoJob(t, g, dir)
	wantWritten(t, g)
}

func wantNote(t *testing.T, l *live, words string) {
	t.Helper()
	notes := append(slices.Clone(l.notes), l.quiesce.note)
	if !slices.ContainsFunc(notes, func(n string) bool { return strings.Contains(n, words) }) {
		t.Errorf("notes %q do not say %q", notes, words)
	}
}

func waitFor(t *testing.T, what string, done func() bool) {
	t.Helper()
	for end := time.Now().Add(2 * time.Minute); !done(); time.Sleep(100 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("waited in vain for ", what)
		}
	}
}
