package repo

import (
	"context"
	"errors"
	"fmt"

	"vaultfs/repo/store"
)

// ClearDead clears away the sessions whose processes are gone, and what their
// writing left unnamed, and returns them. Whoever opens a session does so by
// itself.
func (r *Repo) ClearDead(ctx context.Context) ([]SessionInfo, error) {
	sessions, err := r.Sessions(ctx)
	if err != nil {
		return nil, err
	}
	var cleared []SessionInfo
	for _, s := range sessions {
		if s.Alive {
			continue
		}
		err := r.store.BreakLease(ctx, s.ID)
		if errors.Is(err, store.ErrNotFound) {
			continue // somebody else has cleared it
		}
		if err != nil {
			return cleared, fmt.Errorf("clearing session %s: %w", s.ID, err)
		}
		cleared = append(cleared, s)
	}
	_, err = r.store.CleanTemp(ctx)
	return cleared, err
}

// clearDead is ClearDead for whoever does not ask what was cleared.
func (r *Repo) clearDead(ctx context.Context) error {
	_, err := r.ClearDead(ctx)
	return err
}

// BreakSession ends a session, living or dead. Once it has returned nil, the
// session's snapshot can never be committed, no collector waits for it any more,
// and what it stored stays as what an interrupted ingest leaves: the next one
// finds it, or GC removes it. The process itself is not touched: it fails with
// ErrLeaseBroken when it comes to its next publish. ErrNotFound if the session has
// ended.
func (r *Repo) BreakSession(ctx context.Context, id string) error {
	err := r.store.BreakLease(ctx, id)
	if errors.Is(err, store.ErrNotFound) {
		return fmt.Errorf("session %s: %w: it has ended by itself", id, ErrNotFound)
	}
	return err
}
