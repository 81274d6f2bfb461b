package repo

import (
	"context"
	"errors"
	"slices"

	"vaultfs/repo/format"
)

// Remove gives some of the pinned snapshots free; the others stay pinned all the
// while. It is not for concurrent use. ErrLeaseBroken if somebody broke the lease,
// so that none of them is pinned any more.
func (p *Pin) Remove(ctx context.Context, snapshots ...*Snapshot) error {
	if err := p.Held(ctx); err != nil {
		return err
	}
	free := map[format.SnapshotID]bool{}
	for _, s := range snapshots {
		id, err := format.ParseSnapshotID(s.ID)
		if err != nil {
			return err
		}
		free[id] = true
	}
	return p.free(ctx, free)
}

func (p *Pin) free(ctx context.Context, free map[format.SnapshotID]bool) error {
	for i := 0; i < len(p.leases); {
		emptied, err := p.shrink(ctx, i, free)
		if err != nil {
			return err
		}
		if !emptied {
			i++
		}
	}
	return nil
}

// shrink opens a lease without what is to be free, and then gives up the one it
// takes the place of. It tells whether none was needed.
func (p *Pin) shrink(ctx context.Context, i int, free map[format.SnapshotID]bool) (emptied bool, err error) {
	old := p.leases[i]
	rest := slices.DeleteFunc(slices.Clone(old.snapshots), func(id format.SnapshotID) bool { return free[id] })
	if len(rest) == len(old.snapshots) {
		return false, nil
	}
	if len(rest) > 0 {
		l, err := p.open(ctx, rest)
		if l == nil || err != nil {
			return false, err // on a full disk the old lease has to do
		}
		if err := old.lease.Held(ctx); err != nil {
			// It was broken before there was the new one: what was between was not pinned.
			return false, errors.Join(err, l.Release(ctx))
		}
		p.leases[i] = readLease{l, rest}
	} else {
		p.leases = slices.Delete(p.leases, i, i+1)
	}
	for _, id := range old.snapshots {
		if free[id] {
			delete(p.pinned, id.String())
		}
	}
	return len(rest) == 0, old.lease.Release(ctx)
}
