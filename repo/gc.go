package repo

import (
	"context"
	"errors"
	"fmt"
	"time"

	"vaultfs/repo/format"
)

// GCOptions says what a collection may do.
type GCOptions struct {
	DryRun bool // plan only: nothing is changed
	// MaxUnused is the share of a pack, from 0 to 1, that may be unused before
	// the rest of it is copied elsewhere and it is removed.
	MaxUnused float64
	// MaxRewrite bounds the bytes that are copied; below 0 there is no bound.
	MaxRewrite int64
	// For bounds the time after which no more copying is begun; 0 for no bound.
	For time.Duration
	// Alone makes it ErrInUse if another collection is going on. Otherwise it is
	// waited for.
	Alone    bool
	Progress func(GCProgress) // may be nil
	// Planned is told the plan, once, before anything is changed; may be nil.
	Planned func(*GCPlan)
}

// DefaultMaxUnused is the share of a pack that may be unused.
const DefaultMaxUnused = 0.05

// GCProgress tells how far a collection has come.
type GCProgress struct {
	Phase string // "marking", "copying", "removing", "waiting for process 17 on nas"
	Done  int64  // bytes
	Total int64  // 0 if unknown
}

// A GCPlan is what a collection found and means to do. Bytes are of files.
type GCPlan struct {
	Snapshots int // that are kept
	Forgotten int // whose manifests are removed
	Chunks    int64
	UsedBytes int64 // of chunks, as stored, that snapshots need
	Packs     int   // that are listed
	PackBytes int64

	Dead      PackCount // wholly unused: removed
	Rewrite   PackCount // partly unused: what is used is copied, then they are removed
	CopyBytes int64     // what is copied of those
	Kept      PackCount // partly unused, but less than MaxUnused, or beyond MaxRewrite
	KeptBytes int64     // unused bytes in them
	Unlisted  PackCount // left by interrupted sessions: removed
	TakenBack PackCount // condemned, but needed after all

	// FreedNow is by how much the repository becomes smaller at once, and Waiting
	// what cannot be removed yet, and why.
	FreedNow int64
	Waiting  []Waiting
	// Blocked says why nothing may be removed; nil if it may. Damage found is in
	// it, each a DamageError.
	Blocked []error
	// Lost are chunks that snapshots need and no pack holds any more.
	Lost int64
}

// A PackCount is a number of packs and their bytes.
type PackCount struct {
	Packs int
	Bytes int64
}

// Waiting is space that cannot be freed yet.
type Waiting struct {
	Bytes   int64
	Packs   int
	Session *SessionInfo // that has to end; nil if it is something else
	Reason  string       // a sentence: "vm/win11 is being backed up since 18:02 by process 1234 on nas"
}

// A GCResult is what a collection did.
type GCResult struct {
	Plan      *GCPlan
	DryRun    bool
	Freed     int64 // bytes of files that were deleted, less those that were written
	Deleted   int64 // bytes of files that were deleted
	Written   int64 // bytes of packs and index runs that were written
	Packs     int   // that were deleted
	Manifests int   // of forgotten snapshots, that were deleted
	Waiting   []Waiting
	// Unfinished says why copying ended before all of the plan was done: the time
	// or the room was used up; "" if it did not.
	Unfinished string
}

// GC finds what no snapshot needs and removes it. It needs no quiet hour: any
// number of sessions and readers, here and on other hosts, may go on meanwhile.
// Where something is damaged so that it cannot be told what is needed, Plan.Blocked
// says so, and only what interrupted sessions left is removed. ErrInUse is told
// while the index is repaired, and with Alone while another collection goes on;
// an index that is damaged is a DamageError.
func (r *Repo) GC(ctx context.Context, o GCOptions) (result *GCResult, err error) {
	if err := format.CheckFeatures("collecting", r.config.GC); err != nil {
		return nil, err
	}
	c, err := r.newCollector(o)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, c.close(context.WithoutCancel(ctx))) }()
	if !o.DryRun {
		if err := c.begin(ctx); err != nil {
			return nil, err
		}
	}
	if err := c.makePlan(ctx); err != nil {
		return nil, err
	}
	if o.Planned != nil {
		o.Planned(c.result.Plan)
	}
	if o.DryRun {
		c.result.Waiting = c.plan.Waiting
		return c.result, nil
	}
	err = c.carryOut(ctx)
	c.result.Freed = c.result.Deleted - c.result.Written
	return c.result, err
}

// carryOut does what was planned.
func (c *collector) carryOut(ctx context.Context) error {
	if len(c.plan.Blocked) > 0 {
		if err := c.removeAndDelete(ctx); err != nil {
			return err
		}
		return c.shrinkRuns(ctx)
	}
	dead, back := c.hashes(c.plan.of(dies)), c.hashes(c.plan.of(comes))
	if c.tight(ctx) {
		if err := c.exchange(ctx, dead, back); err != nil {
			return err
		}
		dead, back = nil, nil
		c.plan.smallestFirst()
	}
	for rest := c.plan.moves; ; {
		copied, err := c.copyPacks(ctx, &rest)
		if err != nil {
			return err
		}
		before := c.result.Deleted
		if err := c.exchange(ctx, append(c.hashes(copied), dead...), back); err != nil {
			return err
		}
		dead, back = nil, nil
		if len(rest) == 0 || c.result.Unfinished != "" {
			break
		}
		if c.result.Deleted == before {
			c.result.Unfinished = fmt.Sprintf("there is no room for more copies before the first ones have made some; %d packs are left to be rewritten", len(rest))
			break
		}
	}
	if err := c.endCopying(ctx); err != nil {
		return err
	}
	return c.shrinkRuns(ctx)
}

// exchange condemns packs, or takes them back, and deletes what may go by now.
func (c *collector) exchange(ctx context.Context, dead, back []format.PackHash) error {
	if err := c.condemn(ctx, dead, back); err != nil {
		return err
	}
	return c.removeAndDelete(ctx)
}

// removeAndDelete takes from the index what may go by now, and deletes it.
func (c *collector) removeAndDelete(ctx context.Context) error {
	r, err := c.remove(ctx)
	if err != nil {
		return err
	}
	if err := c.delete(ctx, r); err != nil {
		return err
	}
	c.last = r
	c.result.Waiting = c.waiting(r.survey, nil)
	return nil
}
