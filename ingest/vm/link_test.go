package vm

import (
	"testing"

	"vaultfs/internal/testguest"
)

func TestLostConnectionIsMadeAgain(t *testing.T) {
	t.Parallel()
	g := idle(t, testguest.Spec{NoAgent: true})
	way := newGate(t)
	_, d := domainAt(t, way.uri, g)
	dir := testguest.Dir(t)
	l, err := beginLive(t.Context(), runOf(t, d, &Options{Connect: way.uri, ScratchDir: dir}))
	if err != nil {
		t.Fatal(err)
	}
	way.drop(t)
	if err := l.check(t.Context()); err != nil {
		t.Errorf("the job is given up with the connection: %v", err)
	}
	if _, err := l.files(); err != nil {
		t.Error(err)
	}
	way.drop(t)
	if err := l.close(); err != nil {
		t.Error(err)
	}
	wantNoJob(t, g, dir)
	wantState(t, g, "running")
}

// lostWhileFrozen loses the connection in the window between freeze and thaw.
func lostWhileFrozen(t *testing.T, g *testguest.Guest) {
	way := newGate(t)
	_, d := domainAt(t, way.uri, g)
	l, err := newLink(d)
	if err != nil {
		t.Fatal(err)
	}
	defer l.close()
	q, err := frozenWhile(t.Context(), g.Name, l, agentTimeout, func() error {
		if !g.Frozen() {
			t.Error("guest is not frozen")
		}
		way.drop(t)
		return nil
	})
	if err != nil || !q.frozen || q.warning != "" {
		t.Errorf("%+v, %v", q, err)
	}
	if g.Frozen() {
		t.Error("guest is still frozen")
	}
}
