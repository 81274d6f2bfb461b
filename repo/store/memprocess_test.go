package store

import (
	"errors"
	"testing"
)

// A counter is a gate that remembers what passed it.
type counter struct{ ops []string }

func (c *counter) pass(op, object string) func() {
	c.ops = append(c.ops, op+" "+object)
	return func() {}
}

func process(t *testing.T, m *Mem, gate Gate) (*Process, *Dir) {
	t.Helper()
	p := m.Process(gate)
	d, err := p.Store()
	must(t, err)
	t.Cleanup(func() { d.Close() })
	return p, d
}

func TestKilledProcessLosesItsLease(t *testing.T) {
	m := NewMem()
	p, d := process(t, m, new(counter).pass)
	l, err := d.OpenLease(ctx, "a", []byte("content"))
	must(t, err)
	other, err := m.Store()
	must(t, err)
	if leases, err := other.Leases(ctx); err != nil || len(leases) != 1 || !leases[0].Alive {
		t.Fatalf("before: %v, %v", leases, err)
	}
	p.Kill()
	if leases, err := other.Leases(ctx); err != nil || len(leases) != 1 || leases[0].Alive {
		t.Errorf("after: %v, %v", leases, err)
	}
	if err := l.Commit(ctx, []byte("late"), "snapshots/a"); !errors.Is(err, ErrKilled) {
		t.Errorf("commit of a dead process: %v", err)
	}
	if err := d.Put(ctx, "x", nil); !errors.Is(err, ErrKilled) {
		t.Errorf("put of a dead process: %v", err)
	}
	if got := names(t, other, ""); len(got) != 0 {
		t.Errorf("a dead process has made %v", got)
	}
}

// A process that is killed while it waits at its gate does not do what it waits for.
func TestKilledAtTheGate(t *testing.T) {
	m := NewMem()
	var p *Process
	p, d := process(t, m, func(op, _ string) func() {
		if op == "link" {
			p.Kill()
		}
		return func() {}
	})
	if err := d.Put(ctx, "x", []byte("data")); !errors.Is(err, ErrKilled) {
		t.Errorf("put: %v", err)
	}
	other, err := m.Store()
	must(t, err)
	if got := names(t, other, ""); len(got) != 0 {
		t.Errorf("there is %v", got)
	}
}

// A listing waits at the gate for each entry, and an entry that goes meanwhile
// is not listed.
func TestListingEntryByEntry(t *testing.T) {
	m := NewMem()
	other, err := m.Store()
	must(t, err)
	for _, name := range []string{"d/1", "d/2", "d/3"} {
		must(t, other.Put(ctx, name, nil))
	}
	var c counter
	var d *Dir
	_, d = process(t, m, c.pass)
	var got []string
	must(t, d.List(ctx, "d", func(i Info) error {
		got = append(got, i.Name)
		for _, name := range names(t, other, "d") {
			if name != i.Name {
				must(t, other.Delete(ctx, name))
			}
		}
		return nil
	}))
	if len(got) != 1 {
		t.Errorf("listed %v although the others were gone", got)
	}
	if len(c.ops) != 4 {
		t.Errorf("it waited for %q", c.ops)
	}
}

// What comes while a directory is listed is listed once at most, and at times.
func TestListingOfWhatComes(t *testing.T) {
	m := NewMem()
	d, err := m.Store()
	must(t, err)
	must(t, d.Put(ctx, "d/first", nil))
	seen := map[string]int{}
	must(t, d.List(ctx, "d", func(i Info) error {
		if len(seen) == 0 {
			for _, name := range []string{"d/a", "d/b", "d/c", "d/e"} {
				must(t, d.Put(ctx, name, nil))
			}
		}
		seen[i.Name]++
		return nil
	}))
	if len(seen) < 2 || len(seen) > 4 {
		t.Errorf("listed %v", seen)
	}
	for name, n := range seen {
		if n != 1 {
			t.Errorf("%s is listed %d times", name, n)
		}
	}
}
