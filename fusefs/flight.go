package fusefs

import (
	"context"
	"sync"
	"time"

	"golang.org/x/sync/singleflight"
)

// patience is how long an interrupted process waits on, so that a signal that
// does not kill it is seen by nobody when the work is short.
const patience = time.Second

// flights does each piece of work once, however many wait for it, and finishes it
// even when they have all gone: an interrupted reader spoils nothing for the next.
type flights struct {
	ctx       context.Context // ends when the tree has been unmounted
	group     singleflight.Group
	abandoned sync.WaitGroup // work that nobody waits for any more
}

// do returns what work returns, or the error of ctx when that ends too early.
// The work is shared with all who ask under the same key.
func (f *flights) do(ctx context.Context, key string, work func(context.Context) (any, error)) (any, error) {
	done := f.group.DoChan(key, func() (any, error) { return work(f.ctx) })
	select {
	case r := <-done:
		return r.Val, r.Err
	case <-ctx.Done():
	}
	grace := time.NewTimer(patience)
	defer grace.Stop()
	select {
	case r := <-done:
		return r.Val, r.Err
	case <-grace.C:
		f.abandoned.Go(func() { <-done })
		return nil, ctx.Err()
	}
}
