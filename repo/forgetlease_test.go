package repo_test

import (
	"errors"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"
	"vaultfs/repo"
)

// One at a time decides what is forgotten, however many begin at once.
func TestOneDecidesWhatIsForgotten(t *testing.T) {
	st := newStore(t)
	r := newRepo(t, st)
	var inside, most atomic.Int32
	var group errgroup.Group
	for range 5 {
		group.Go(func() error {
			release, err := r.DecideAlone(t.Context())
			if err != nil {
				return err
			}
			most.Store(max(most.Load(), inside.Add(1)))
			time.Sleep(5 * time.Millisecond)
			inside.Add(-1)
			return release()
		})
	}
	if err := group.Wait(); err != nil || most.Load() != 1 {
		t.Errorf("%d at once (%v)", most.Load(), err)
	}
	if s, err := r.Sessions(t.Context()); err != nil || len(s) > 0 {
		t.Errorf("left are %+v (%v)", s, err)
	}
}

func TestDecidingIsWaitedForOnlySoLong(t *testing.T) {
	defer repo.SetForgetWait(50 * time.Millisecond)()
	st := newStore(t)
	r := newRepo(t, st)
	release, err := r.DecideAlone(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := r.DecideAlone(t.Context()); !errors.Is(err, repo.ErrInUse) {
		t.Errorf("a second one: %v", err)
	}
	ingestTagged(t, r, "vm/a") // is not kept from its work
	if err := release(); err != nil {
		t.Fatal(err)
	}
	if release, err = r.DecideAlone(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := release(); err != nil {
		t.Fatal(err)
	}
}
