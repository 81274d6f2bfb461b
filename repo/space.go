package repo

import "context"

// Free is how many bytes this user may still write to the repository.
func (r *Repo) Free(ctx context.Context) (int64, error) {
	free, _, err := r.store.Free(ctx)
	return free, err
}
