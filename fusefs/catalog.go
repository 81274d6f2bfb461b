package fusefs

import (
	"context"
	"errors"
	"slices"
	"sync/atomic"
	"time"

	"vaultfs/repo"
)

// freshness is how long a listing of the repository's snapshots is good for, and
// how long the kernel may keep what comes of it.
const freshness = time.Second

// catalog keeps the tree of sources up to date.
type catalog struct {
	repository Repository
	flights    *flights
	report     *reporter
	listing    atomic.Pointer[listing]
}

type listing struct {
	snapshots []*repo.Snapshot
	root      *sourceDir
	at        time.Time
	err       error // why it may lack some
}

// root is the tree of sources as it was at most a second ago. When the repository
// cannot be listed at all it is an older one.
func (c *catalog) root(ctx context.Context) (*sourceDir, error) {
	l, err := c.now(ctx)
	if err != nil {
		return nil, err
	}
	return l.root, nil
}

// listed returns the IDs of the snapshots that there are. A listing that may lack
// some is an error.
func (c *catalog) listed(ctx context.Context) (map[string]bool, error) {
	l, err := c.now(ctx)
	if err == nil {
		err = l.err
	}
	if err != nil {
		return nil, err
	}
	ids := make(map[string]bool, len(l.snapshots))
	for _, s := range l.snapshots {
		ids[s.ID] = true
	}
	return ids, nil
}

// now is what there was at most a second ago.
func (c *catalog) now(ctx context.Context) (*listing, error) {
	if l := c.listing.Load(); l != nil && time.Since(l.at) < freshness {
		return l, nil
	}
	l, err := c.flights.do(ctx, "list", func(ctx context.Context) (any, error) { return c.list(ctx) })
	if err != nil {
		return nil, err
	}
	return l.(*listing), nil
}

func (c *catalog) list(ctx context.Context) (*listing, error) {
	snapshots, err := c.repository.Snapshots(ctx)
	old := c.listing.Load()
	if err != nil && !errors.Is(err, repo.ErrDamaged) && len(snapshots) == 0 {
		if old == nil {
			return nil, err
		}
		c.report.problem("listing the snapshots again", "", err)
		snapshots = old.snapshots
	} else if err != nil {
		c.reportUnreadable(err)
	}
	now := &listing{snapshots: snapshots, at: time.Now(), err: err}
	if old != nil && slices.EqualFunc(old.snapshots, snapshots, same) {
		now.root = old.root
	} else {
		now.root = arrange(snapshots)
	}
	c.listing.Store(now)
	return now, nil
}

func same(a, b *repo.Snapshot) bool { return a.ID == b.ID }

// reportUnreadable tells of each snapshot that is not shown, once.
func (c *catalog) reportUnreadable(err error) {
	errs := []error{err}
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		errs = joined.Unwrap()
	}
	for _, err := range errs {
		c.report.once("a snapshot is not shown: " + err.Error())
	}
}
