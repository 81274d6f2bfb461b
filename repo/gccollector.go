package repo

import (
	"context"
	"errors"
	"fmt"
	"time"

	"vaultfs/repo/format"
	"vaultfs/repo/index"
)

// purposeGC is the purpose of a collector's lease.
const purposeGC = "gc"

// gcPoll is how often a collector looks whether another one has ended. Tests
// lower it.
var gcPoll = 500 * time.Millisecond

// A collector is one run of GC.
type collector struct {
	repo    *Repo // with an index and caches of its own
	options GCOptions
	session *Session // holds the lease, and writes what is copied; nil in a dry run
	begun   time.Time
	result  *GCResult
	plan    *planned
	needed  needed
	damaged []format.PackHash // in which damage was found on the way
	last    *removal          // the latest
	copied  int64             // bytes
}

// newCollector makes a collector. Its index stays as it is but when it is told.
func (r *Repo) newCollector(o GCOptions) (*collector, error) {
	own, err := newRepo(r.store, r.config, r.secrets, r.slot, OpenOptions{CacheDir: r.cacheDir})
	if err != nil {
		return nil, err
	}
	own.warn, own.frozen = r.warn, true
	if o.Progress == nil {
		o.Progress = func(GCProgress) {}
	}
	return &collector{repo: own, options: o, begun: time.Now(), result: &GCResult{DryRun: o.DryRun}}, nil
}

// close ends the collector's lease. What it listed stays.
func (c *collector) close(ctx context.Context) error {
	c.needed.close()
	if c.plan != nil {
		c.plan.view.Close()
	}
	var err error
	if c.session != nil {
		err = c.session.Abort(ctx)
	}
	return errors.Join(err, c.repo.Close())
}

// begin opens the lease: of two collectors one waits for the other.
func (c *collector) begin(ctx context.Context) error {
	for {
		if err := c.repo.clearDead(ctx); err != nil {
			return err
		}
		s, err := c.repo.newCopySession(ctx, format.GCLease, purposeGC)
		if errors.Is(err, ErrNoSpace) {
			return fmt.Errorf("%w; a collection needs some kilobytes to begin: make that room on the file system of the repository by other means, "+
				"then run `vaultfs gc` again", err)
		}
		if err != nil {
			return indexLost(err)
		}
		other, err := c.otherCollector(ctx, s)
		if err == nil && other == nil {
			c.session = s
			return nil
		}
		if err := errors.Join(err, s.Abort(ctx)); err != nil {
			return err
		}
		if other.Purpose == purposeRepair {
			return fmt.Errorf("%w: its index is being repaired by process %d on %s", ErrInUse, other.PID, other.Host)
		}
		if c.options.Alone {
			return fmt.Errorf("%w: process %d on %s has been collecting since %s", ErrInUse, other.PID, other.Host, other.Since.Format("15:04:05"))
		}
		if err := c.waitFor(ctx, other); err != nil {
			return err
		}
	}
}

// otherCollector returns a collector that goes first. Our own lease is seen by
// then, so of two that begin at once each sees the other: the one with the
// higher ID gives way. Who is there already does not go away.
func (c *collector) otherCollector(ctx context.Context, own *Session) (*SessionInfo, error) {
	for begin := time.Now(); ; {
		others, err := c.collectors(ctx, own.ID())
		if err != nil || len(others) == 0 {
			return nil, err
		}
		for i, o := range others {
			if o.Purpose == purposeRepair || o.ID < own.ID() || time.Since(begin) > rivalWait {
				return &others[i], nil
			}
		}
		if err := pause(ctx, rivalPoll); err != nil {
			return nil, err
		}
	}
}

// collectors lists the other living sessions that collect, or rewrite the index.
func (c *collector) collectors(ctx context.Context, own string) (others []SessionInfo, err error) {
	all, err := c.repo.Sessions(ctx)
	for _, s := range all {
		if s.Alive && s.ID != own && s.Kind == "gc" && (s.Purpose == purposeGC || s.Purpose == purposeRepair) {
			others = append(others, s)
		}
	}
	return others, err
}

// waitFor waits until a session has ended.
func (c *collector) waitFor(ctx context.Context, s *SessionInfo) error {
	for {
		c.options.Progress(GCProgress{Phase: fmt.Sprintf("waiting for process %d on %s", s.PID, s.Host)})
		if err := pause(ctx, gcPoll); err != nil {
			return err
		}
		all, err := c.collectors(ctx, "")
		if err != nil {
			return err
		}
		if !containsSession(all, s.ID) {
			return nil
		}
	}
}

func containsSession(all []SessionInfo, id string) bool {
	for _, s := range all {
		if s.ID == id {
			return true
		}
	}
	return false
}

func pause(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(d):
		return nil
	}
}

// held returns nil while the collector's lease protects what it does.
func (c *collector) held(ctx context.Context) error { return c.session.lease.Held(ctx) }

// sync brings the collector's index in step with the newest head.
func (c *collector) sync(ctx context.Context) (*format.Head, error) {
	r := c.repo
	r.syncing.Lock()
	defer r.syncing.Unlock()
	if err := r.syncHead(ctx); err != nil {
		return nil, indexLost(err)
	}
	return r.head, format.CheckFeatures("collecting", r.head.GC)
}

// indexLost adds to an error that the index is damaged what to do about it.
func indexLost(err error) error {
	if isDamage(err) {
		return &DamageError{"index", fmt.Errorf("%w; nothing can be collected before `vaultfs repair index` has made a new one", err)}
	}
	return err
}

// again calls fn until no part of the local copy of the index turned out to be
// damaged, which it mends in between.
func (c *collector) again(ctx context.Context, fn func() error) error {
	for range 3 {
		err := fn()
		if !errors.Is(err, index.ErrTable) {
			return err
		}
	}
	return fn()
}
