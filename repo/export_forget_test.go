package repo

import (
	"context"
	"time"

	"vaultfs/repo/format"
)

// RecordRead adds to the ledger that packs, by their hashes, were read now.
func (r *Repo) RecordRead(ctx context.Context, packs ...string) error {
	var hashes []format.PackHash
	for _, p := range packs {
		hash, err := format.ParsePackHash(p)
		if err != nil {
			return err
		}
		hashes = append(hashes, hash)
	}
	return r.recordRead(ctx, hashes)
}

// SetForgetWait sets how long a second one waits who decides what is forgotten.
func SetForgetWait(d time.Duration) (restore func()) {
	was := forgetWait
	forgetWait = d
	return func() { forgetWait = was }
}
