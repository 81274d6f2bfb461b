package repo

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"vaultfs/repo/format"
	"vaultfs/repo/store"
)

// purposeForget is the purpose of the lease of who decides what is forgotten.
const purposeForget = "forget"

// forgetWait is how long DecideAlone waits for others.
var forgetWait = time.Minute

// DecideAlone sees to it that nobody else, here or on another host, decides at
// the same time what is forgotten: two that keep one snapshot of a source each
// could forget both. The lease that it opens keeps nobody from anything else.
// Others are waited for, for a minute; then it is ErrInUse. release lets the
// others go on.
func (r *Repo) DecideAlone(ctx context.Context) (release func() error, err error) {
	if err := r.mayForget(ctx); err != nil {
		return nil, err
	}
	for begin := time.Now(); ; {
		id := newSnapshotID()
		l, err := r.openLease(ctx, id, format.Lease{Kind: format.ReadLease, Purpose: purposeForget})
		if errors.Is(err, store.ErrFull) {
			return nil, noRoomToForget(err)
		}
		if err != nil {
			return nil, err
		}
		rival, err := r.forgetting(ctx, id.String())
		if err == nil && rival == nil {
			return func() error { return l.Release(context.WithoutCancel(ctx)) }, nil
		}
		if err = errors.Join(err, l.Release(context.WithoutCancel(ctx))); err != nil {
			return nil, err
		}
		if time.Since(begin) > forgetWait {
			return nil, fmt.Errorf("%w: process %d on %s decides what is forgotten, since %s", ErrInUse, rival.PID, rival.Host, rival.Since.Format("15:04:05"))
		}
		// Two that begin at once both give way: who comes back first goes on.
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(10*time.Millisecond + rand.N(200*time.Millisecond)):
		}
	}
}

// forgetting returns somebody else who decides what is forgotten; nil if there
// is none.
func (r *Repo) forgetting(ctx context.Context, own string) (*SessionInfo, error) {
	sessions, err := r.Sessions(ctx)
	if err != nil {
		return nil, err
	}
	for i, s := range sessions {
		if s.Alive && s.ID != own && s.Kind == "read" && s.Purpose == purposeForget {
			return &sessions[i], nil
		}
	}
	return nil, nil
}
