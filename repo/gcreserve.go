package repo

import (
	"context"
	"fmt"
)

// reserve is how many bytes of the file system sessions leave free: a collector
// must be able to write its lease and its heads.
func (r *Repo) reserve(ctx context.Context) int64 {
	_, total, err := r.store.Free(ctx)
	if err != nil {
		return 0
	}
	return min(64<<20, total/64)
}

// checkRoom refuses to write a pack into the reserve.
func (r *Repo) checkRoom(ctx context.Context, bytes int64) error {
	free, total, err := r.store.Free(ctx)
	if err != nil {
		return err
	}
	if reserve := min(64<<20, total/64); free < bytes+reserve {
		return fmt.Errorf("%w: %.1f MiB are free where the repository lies, and %.1f MiB have to stay free so that `vaultfs gc` can work; "+
			"`vaultfs forget` and `vaultfs gc` make room", ErrNoSpace, float64(free)/(1<<20), float64(reserve)/(1<<20))
	}
	return nil
}
