package repo

import (
	"context"
	"errors"

	"vaultfs/repo/format"
)

// Forget marks snapshots as forgotten, with a word on why. From then on they are
// not listed any more, cannot be opened, and no session relies on them; GC frees
// their space once nobody reads them.
func (r *Repo) Forget(ctx context.Context, reason string, snapshots ...*Snapshot) error {
	return errors.New("not there yet")
}

// marks returns the snapshots that have a mark. A mark that cannot be read counts,
// for everybody but who removes: see mark.
func (r *Repo) marks(ctx context.Context) (map[format.SnapshotID]bool, error) {
	return nil, errors.New("not there yet")
}
