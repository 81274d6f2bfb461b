package store

import (
	"math/rand/v2"
	"strings"
	"testing"
)

// meddling lets somebody else act right after a file was opened or made.
type meddling struct {
	fileSystem
	opened, created func()
}

func once(fn *func()) {
	if act := *fn; act != nil {
		*fn = nil
		act()
	}
}

func (m *meddling) open(name string, write bool) (file, error) {
	f, err := m.fileSystem.open(name, write)
	once(&m.opened)
	return f, err
}

func (m *meddling) createNamed(name string) (file, error) {
	f, err := m.fileSystem.createNamed(name)
	if err == nil {
		once(&m.created)
	}
	return f, err
}

// A lease that ends between a probe's open and its look at the lock is gone,
// not dead.
func TestLeaseEndsUnderProbe(t *testing.T) {
	disk := NewMem()
	owner, err := disk.Store()
	must(t, err)
	l, err := owner.OpenLease(ctx, "s1", nil)
	must(t, err)
	prober, err := newDir(&meddling{fileSystem: &memFS{m: disk}, opened: func() { must(t, l.Commit(ctx, nil, "snapshots/s1")) }})
	must(t, err)
	if got := lease(t, prober, "s1"); got != nil {
		t.Fatalf("a committed lease is listed: %+v", got)
	}
}

// CleanTemp takes a temporary that is not locked yet; its writer makes another.
func TestTempIsTakenBeforeItIsLocked(t *testing.T) {
	disk := NewMem()
	cleaner, err := disk.Store()
	must(t, err)
	fs := &meddling{fileSystem: &memFS{m: disk}, created: func() {
		if n, err := cleaner.CleanTemp(ctx); n != 1 || err != nil {
			t.Errorf("%d removed, %v", n, err)
		}
	}}
	d := crippled{noNameless: true}.over(t, fs)
	must(t, d.Put(ctx, "a", []byte("a")))
	sameContent(t, cleaner, "a", []byte("a"))
}

// FUSE may not show a lock through a second name, so that a lease must get its
// name by a rename wherever its file had one.
func TestNamedLeaseIsRenamed(t *testing.T) {
	for _, c := range []crippled{{noNameless: true}, {noNameless: true, noNoReplace: true}} {
		disk := NewMem()
		if _, err := c.over(t, &memFS{m: disk}).OpenLease(ctx, "s1", nil); err != nil {
			t.Fatal(err)
		}
		trace := strings.Join(disk.Trace(), "\n")
		if !strings.Contains(trace, "rename tmp/") || strings.Contains(trace, "link ") {
			t.Fatalf("steps:\n%s", trace)
		}
	}
}

// A directory that was removed and made again is made durable again.
func TestPutIntoDirectoryMadeAgain(t *testing.T) {
	onVariants(t, func(t *testing.T, c crippled) {
		disk := NewMem()
		d := c.over(t, &memFS{m: disk})
		must(t, d.Put(ctx, "packs/s/a", []byte("a")))
		must(t, d.Delete(ctx, "packs/s/a"))
		must(t, d.Put(ctx, "packs/s/b", []byte("b")))
		for seed := range uint64(outcomes) {
			after := disk.Crash(rand.New(rand.NewPCG(seed, 0)))
			sameContent(t, c.over(t, &memFS{m: after}), "packs/s/b", []byte("b"))
		}
	})
}
