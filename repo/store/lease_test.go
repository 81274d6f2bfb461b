package store

import (
	"bytes"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"sync"
	"testing"
	"time"
)

// lease finds one lease among all.
func lease(t testing.TB, d *Dir, name string) *LeaseInfo {
	t.Helper()
	all, err := d.Leases(ctx)
	must(t, err)
	i := slices.IndexFunc(all, func(l LeaseInfo) bool { return l.Name == name })
	if i < 0 {
		return nil
	}
	return &all[i]
}

func TestCommit(t *testing.T) {
	onStores(t, func(t *testing.T, open func() *Dir) {
		d, other := open(), open()
		if all, err := d.Leases(ctx); all != nil || err != nil {
			t.Fatalf("an empty store has leases %v, %v", all, err)
		}
		l, err := d.OpenLease(ctx, "s1", []byte("epoch 4, a rather long lease"))
		must(t, err)
		must(t, l.Held(ctx))
		for _, d := range []*Dir{d, other} {
			if got := lease(t, d, "s1"); got == nil || !got.Alive || string(got.Content) != "epoch 4, a rather long lease" {
				t.Fatalf("lease %+v", got)
			}
		}
		if _, err := other.OpenLease(ctx, "s1", nil); !errors.Is(err, ErrExists) {
			t.Fatalf("second lease of the name: %v", err)
		}
		must(t, l.Commit(ctx, []byte("manifest"), "snapshots/vm/s1"))
		sameContent(t, other, "snapshots/vm/s1", []byte("manifest"))
		if got := leftovers(t, d, "."); !slices.Equal(got, []string{"snapshots/vm/s1"}) {
			t.Fatalf("files %v", got)
		}
		if err := other.BreakLease(ctx, "s1"); !errors.Is(err, ErrNotFound) {
			t.Fatalf("break after commit: %v", err)
		}
		if err := l.Commit(ctx, nil, "snapshots/x"); !errors.Is(err, ErrEnded) {
			t.Fatalf("second commit: %v", err)
		}
		if err := l.Held(ctx); !errors.Is(err, ErrEnded) {
			t.Fatalf("held after commit: %v", err)
		}
		must(t, l.Release(ctx))
		sameContent(t, other, "snapshots/vm/s1", []byte("manifest"))
	})
}

func TestBreak(t *testing.T) {
	onStores(t, func(t *testing.T, open func() *Dir) {
		d, other := open(), open()
		l, err := d.OpenLease(ctx, "s1", nil)
		must(t, err)
		must(t, other.BreakLease(ctx, "s1"))
		if err := l.Held(ctx); !errors.Is(err, ErrBroken) {
			t.Fatalf("held: %v", err)
		}
		// A lease of the same name is another lease.
		second, err := other.OpenLease(ctx, "s1", []byte("second"))
		must(t, err)
		if err := l.Commit(ctx, []byte("m"), "snapshots/s1"); !errors.Is(err, ErrBroken) {
			t.Fatalf("commit: %v", err)
		}
		must(t, second.Held(ctx))
		must(t, second.Release(ctx))
		if err := other.BreakLease(ctx, "s1"); !errors.Is(err, ErrNotFound) {
			t.Fatalf("second break: %v", err)
		}
		if got := leftovers(t, d, "."); got != nil {
			t.Fatalf("files %v", got)
		}
	})
}

func TestReleaseOfBrokenLease(t *testing.T) {
	onStores(t, func(t *testing.T, open func() *Dir) {
		d := open()
		l, err := d.OpenLease(ctx, "s1", nil)
		must(t, err)
		must(t, d.BreakLease(ctx, "s1"))
		second, err := d.OpenLease(ctx, "s1", nil)
		must(t, err)
		must(t, l.Release(ctx))
		must(t, second.Held(ctx))
	})
}

func TestCommitToTakenName(t *testing.T) {
	onStores(t, func(t *testing.T, open func() *Dir) {
		d := open()
		must(t, d.Put(ctx, "snapshots/a", []byte("first")))
		l, err := d.OpenLease(ctx, "s1", nil)
		must(t, err)
		if err := l.Commit(ctx, []byte("second"), "snapshots/a"); !errors.Is(err, ErrExists) {
			t.Fatalf("commit: %v", err)
		}
		sameContent(t, d, "snapshots/a", []byte("first"))
		if lease(t, d, "s1") != nil {
			t.Fatal("the lease is still there")
		}
	})
}

func TestLeaseContentIsBounded(t *testing.T) {
	onStores(t, func(t *testing.T, open func() *Dir) {
		d := open()
		if _, err := d.OpenLease(ctx, "big", make([]byte, MaxLease+1)); !errors.Is(err, ErrTooLarge) {
			t.Fatalf("open: %v", err)
		}
		l, err := d.OpenLease(ctx, "s", nil)
		must(t, err)
		big := randomBytes(1, 2*MaxLease) // as a commit under way
		must(t, fill(l.f.file, big))
		if got := lease(t, d, "s"); !bytes.Equal(got.Content, big[:MaxLease]) {
			t.Fatalf("%d bytes were read", len(got.Content))
		}
	})
}

// Of a commit and a break, exactly one wins.
func TestCommitAgainstBreak(t *testing.T) {
	onStores(t, func(t *testing.T, open func() *Dir) {
		d, other := open(), open()
		for i := range 30 {
			name := fmt.Sprintf("s%d", i)
			final := "snapshots/" + name
			l, err := d.OpenLease(ctx, name, nil)
			must(t, err)
			var broken error
			var wg sync.WaitGroup
			wg.Go(func() { broken = other.BreakLease(ctx, name) })
			committed := l.Commit(ctx, []byte("m"), final)
			wg.Wait()
			_, err = d.Get(ctx, final, 10)
			switch {
			case committed == nil && errors.Is(broken, ErrNotFound) && err == nil:
			case errors.Is(committed, ErrBroken) && broken == nil && errors.Is(err, ErrNotFound):
			default:
				t.Fatalf("commit %v, break %v, get %v", committed, broken, err)
			}
		}
	})
}

// Many probes at once: none takes another for the owner of a dead lease.
func TestProbesDoNotSeeEachOther(t *testing.T) {
	onStores(t, func(t *testing.T, open func() *Dir) {
		d := open()
		if _, err := d.OpenLease(ctx, "alive", nil); err != nil {
			t.Fatal(err)
		}
		dead, err := d.OpenLease(ctx, "dead", nil)
		must(t, err)
		dead.f.Close() // as its process's end does
		var wg sync.WaitGroup
		for range 8 {
			prober := open()
			wg.Go(func() {
				for range 50 {
					all, err := prober.Leases(ctx)
					if err != nil || len(all) != 2 || !all[0].Alive || all[1].Alive {
						t.Errorf("%+v, %v", all, err)
						return
					}
				}
			})
		}
		wg.Wait()
	})
}

func TestForgottenLeaseStaysAlive(t *testing.T) {
	onStores(t, func(t *testing.T, open func() *Dir) {
		d := open()
		if _, err := d.OpenLease(ctx, "s", nil); err != nil {
			t.Fatal(err)
		}
		for range 3 {
			runtime.GC() // finalizers run between
			time.Sleep(time.Millisecond)
			if l := lease(t, d, "s"); l == nil || !l.Alive {
				t.Fatalf("lease %+v", l)
			}
		}
	})
}

// A lease that comes and goes is never seen dead.
func TestLivingLeaseIsNeverSeenDead(t *testing.T) {
	onStores(t, func(t *testing.T, open func() *Dir) {
		owner, prober := open(), open()
		done := make(chan struct{})
		go func() {
			defer close(done)
			for i := range 20 {
				l, err := owner.OpenLease(ctx, fmt.Sprintf("s%d", i), nil)
				if err == nil && i%2 == 0 {
					err = l.Commit(ctx, nil, fmt.Sprintf("snapshots/s%d", i))
				} else if err == nil {
					err = l.Release(ctx)
				}
				if err != nil {
					t.Error(err)
				}
			}
		}()
		for running := true; running; {
			select {
			case <-done:
				running = false
			default:
			}
			all, err := prober.Leases(ctx)
			must(t, err)
			for _, l := range all {
				if !l.Alive {
					t.Fatalf("%s is seen dead", l.Name)
				}
			}
		}
	})
}
