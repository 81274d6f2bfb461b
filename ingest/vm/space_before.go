package vm

import (
	"context"
	"fmt"

	"vaultfs/repo"
)

// What a disk's data takes in the repository, as an estimate before it is read: the least that any guest seen has come
// to, so that a backup which could have fitted is not refused, and the most, so that one which may not fit is warned of.
const (
	leastStored = 8 // one part in 8 of what a first backup reads
	mostStored  = 1 // all of it
	spareStored = 64 << 20
)

// needed estimates what a backup adds to the repository, in bytes, of what there is to read. What a source has backed up
// before is there already, so a full read of it may add nothing.
func needed(toRead int64, before *repo.Snapshot, incremental bool) (least, most int64) {
	switch {
	case before == nil, incremental:
		return spareStored + toRead/leastStored, spareStored + toRead/mostStored
	}
	last := before.Info.Summary.BytesStored
	return spareStored, spareStored + min(toRead, 4*last)
}

// roomFor makes sure that the repository has room for what is going to be read. It fails where that cannot be, and
// warns where it may not.
func (r *run) roomFor(ctx context.Context, toRead int64, before *repo.Snapshot, incremental bool) error {
	free, err := r.repo.Free(ctx)
	if err != nil {
		return nil // writing says what is wrong
	}
	least, most := needed(toRead, before, incremental)
	if free < least {
		return fmt.Errorf("VM %q: only %d MiB are free in the repository, and this backup, which reads %d MiB, needs %d MiB at the very least: free some, or use another repository",
			r.name, free>>20, toRead>>20, least>>20)
	}
	if free < most {
		r.result.Notes = append(r.result.Notes, fmt.Sprintf("the repository has %d MiB free, and this backup may add up to %d MiB", free>>20, most>>20))
	}
	return nil
}
