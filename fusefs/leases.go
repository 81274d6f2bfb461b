package fusefs

import (
	"context"
	"errors"
	"sync"
	"syscall"
	"time"

	"vaultfs/repo"
)

// sweepEvery is how often it is looked whether a snapshot that is held was
// forgotten. Tests lower it.
var sweepEvery = 20 * time.Second

// leases holds one read lease, which names the snapshots that were entered. One
// that was forgotten since is given up when nothing of it is open any more, so
// that it can be collected; while something is, it can be read.
type leases struct {
	flights *flights
	report  *reporter
	// another makes a read lease that names no snapshot yet.
	another func(context.Context) (Pin, error)

	mu   sync.Mutex
	held map[string]*holding // by snapshot ID

	pinning sync.Mutex // one change of the lease at a time; before mu
	pin     Pin
}

// holding is a snapshot that was entered.
type holding struct {
	*snapshot
	pinned bool
	users  int // requests under way, and open files and directories
}

// enter sees to it that a snapshot is named in the lease, at least until leave is
// called as often as enter. It fails if the snapshot is gone, and then there is
// nothing to leave. A repository in which no lease can be had is read without one:
// what is collected meanwhile cannot be read any more, and nothing worse.
func (l *leases) enter(ctx context.Context, s *snapshot) error {
	if l.use(s) {
		return nil
	}
	_, err := l.flights.do(ctx, "lease "+s.ID, func(ctx context.Context) (any, error) {
		return nil, l.add(ctx, s)
	})
	switch {
	case err == nil:
		return nil
	case errors.Is(err, repo.ErrNotFound):
		l.report.once(s.path + " cannot be entered any more: it was forgotten, and what only it needed is being removed or is gone")
	case errno(err) != syscall.EINTR:
		l.report.problem("no read lease on "+s.path+", which a gc may collect while it is read", "", err)
		return nil
	}
	l.leave(s)
	return err
}

// use counts a user of a snapshot, and tells whether it is pinned.
func (l *leases) use(s *snapshot) (pinned bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	h := l.held[s.ID]
	if h == nil {
		h = &holding{snapshot: s}
		l.held[s.ID] = h
	}
	h.users++
	return h.pinned
}

// leave takes one enter back.
func (l *leases) leave(s *snapshot) {
	l.mu.Lock()
	defer l.mu.Unlock()
	h := l.held[s.ID]
	if h.users--; h.users == 0 && !h.pinned {
		delete(l.held, s.ID)
	}
}

func (l *leases) add(ctx context.Context, s *snapshot) error {
	l.pinning.Lock()
	defer l.pinning.Unlock()
	if err := l.pin.Add(ctx, s.Snapshot); err != nil {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if h := l.held[s.ID]; h != nil { // nil if whoever asked has given up meanwhile
		h.pinned = true
	}
	return nil
}

// sweepUntil looks now and then for what can be given up, until ctx ends.
func (l *leases) sweepUntil(ctx context.Context, listed func(context.Context) (map[string]bool, error)) {
	tick := time.NewTicker(sweepEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			l.sweep(ctx, listed)
		}
	}
}

// sweep gives up what is no longer listed and not in use. A listing that is not
// whole says nothing of what it lacks.
func (l *leases) sweep(ctx context.Context, listed func(context.Context) (map[string]bool, error)) {
	if !l.holdsAny() {
		return
	}
	there, err := listed(ctx)
	if err != nil {
		return // the catalog reports it to whoever looks
	}
	l.pinning.Lock()
	defer l.pinning.Unlock()
	if errors.Is(l.pin.Held(ctx), repo.ErrLeaseBroken) {
		l.renew(ctx, there)
		return
	}
	idle := l.takeIdle(there)
	if len(idle) == 0 {
		return
	}
	err = l.pin.Remove(ctx, idle...)
	l.settle(idle, err != nil)
	if err != nil && ctx.Err() == nil {
		l.report.problem("giving up the read lease on forgotten snapshots", "", err)
	}
}

func (l *leases) holdsAny() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.held) > 0
}

// takeIdle finds the snapshots that are not listed and not in use. Whoever enters
// one from now on waits until it is settled what becomes of it.
func (l *leases) takeIdle(listed map[string]bool) (idle []*repo.Snapshot) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for id, h := range l.held {
		if h.pinned && h.users == 0 && !listed[id] {
			h.pinned = false
			idle = append(idle, h.Snapshot)
		}
	}
	return idle
}

// settle notes which snapshots the lease names, or does not name any more.
func (l *leases) settle(snapshots []*repo.Snapshot, pinned bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, s := range snapshots {
		h := l.held[s.ID]
		if h == nil {
			continue
		}
		if h.pinned = pinned; !pinned && h.users == 0 {
			delete(l.held, s.ID)
		}
	}
}

// renew takes another lease after somebody has broken ours. What is still listed
// is pinned again. The rest was forgotten: it can be read as long as it is not
// collected.
func (l *leases) renew(ctx context.Context, listed map[string]bool) {
	l.report.problem("the read lease of this mount was broken", "", errBroken)
	pin, err := l.another(ctx)
	if err != nil {
		l.report.problem("taking another read lease", "", err)
		return
	}
	_ = l.pin.Release(ctx) // it holds nothing any more
	l.pin = pin
	var again, lost []*repo.Snapshot
	l.mu.Lock()
	for id, h := range l.held {
		if h.pinned && listed[id] {
			again = append(again, h.Snapshot)
		} else {
			lost = append(lost, h.Snapshot)
		}
	}
	l.mu.Unlock()
	for _, s := range again {
		if err := l.pin.Add(ctx, s); err != nil {
			lost = append(lost, s)
		}
	}
	l.settle(lost, false)
}

var errBroken = errors.New("somebody ended it with `vaultfs sessions --break`; what was forgotten and is still open here may fail to be read, all else goes on")

// release gives the lease back.
func (l *leases) release(ctx context.Context) error {
	l.pinning.Lock()
	defer l.pinning.Unlock()
	return l.pin.Release(ctx)
}
