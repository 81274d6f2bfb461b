package fusefs

import (
	"context"
	"errors"
	"sync"
	"syscall"

	"vaultfs/repo"
)

// leases holds one read lease, which names the snapshots that were entered.
type leases struct {
	flights *flights
	report  *reporter

	held sync.Map // of snapshot ID to struct{}

	mu  sync.Mutex // one change of the lease at a time
	pin Pin
}

// hold sees to it that a snapshot is named in the lease. It fails if the snapshot
// is gone. A repository in which no lease can be had is read without one: what is
// collected meanwhile cannot be read any more, and nothing worse.
func (l *leases) hold(ctx context.Context, s *snapshot) error {
	if _, ok := l.held.Load(s.ID); ok {
		return nil
	}
	_, err := l.flights.do(ctx, "lease "+s.ID, func(ctx context.Context) (any, error) {
		return nil, l.add(ctx, s.Snapshot)
	})
	if err == nil || errors.Is(err, repo.ErrNotFound) || errno(err) == syscall.EINTR {
		return err
	}
	l.report.problem("no read lease on "+s.path+", which a gc may collect while it is read", "", err)
	return nil
}

func (l *leases) add(ctx context.Context, s *repo.Snapshot) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := l.pin.Add(ctx, s); err != nil {
		return err
	}
	l.held.Store(s.ID, struct{}{})
	return nil
}

// release gives the lease back.
func (l *leases) release(ctx context.Context) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.pin.Release(ctx)
}
