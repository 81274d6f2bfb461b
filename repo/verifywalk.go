package repo

import (
	"context"
	"errors"
	"fmt"

	"vaultfs/repo/format"
	"vaultfs/repo/store"
)

// snapshots returns the chosen snapshots, or all that can be read.
func (v *verifier) snapshots(ctx context.Context) ([]*Snapshot, error) {
	if v.options.Snapshots != nil {
		for _, s := range v.options.Snapshots {
			id, err := format.ParseSnapshotID(s.ID)
			if err != nil {
				return nil, err
			}
			if _, err := v.repo.manifest(ctx, id); err != nil {
				if err := v.found(damage("snapshot "+s.ID, err)); err != nil {
					return nil, err
				}
			}
		}
		return v.options.Snapshots, nil
	}
	all, err := v.repo.Snapshots(ctx)
	for _, err := range split(err) {
		if err := v.found(err); err != nil {
			return nil, err
		}
	}
	return all, v.findGaps(ctx, all)
}

// findGaps reports the snapshots that others name as the one before them and
// that are neither there nor were forgotten, and marks that cannot be read.
func (v *verifier) findGaps(ctx context.Context, all []*Snapshot) error {
	marks, err := v.repo.marks(ctx)
	if err != nil {
		return err
	}
	for id := range marks {
		if _, err := v.repo.mark(ctx, id); err != nil {
			if err := v.found(err); err != nil {
				return err
			}
		}
	}
	have := map[string]bool{}
	for _, s := range all {
		have[s.ID] = true
	}
	for _, s := range all {
		object := "snapshot " + s.Previous
		if _, told := v.findings[object]; s.Previous == "" || have[s.Previous] || told {
			continue
		}
		gap, err := v.isGap(ctx, s)
		if err != nil {
			return err
		}
		if gap {
			v.finding(object, fmt.Errorf("missing; %s of %s names it as the one before", s.Short(), s.Source))
		}
	}
	return nil
}

// isGap tells whether the snapshot before s is neither there, be it of a newer
// version, nor has a mark, which stays as long as s is there.
func (v *verifier) isGap(ctx context.Context, s *Snapshot) (bool, error) {
	before, err := format.ParseSnapshotID(s.Previous)
	if err != nil {
		return false, err
	}
	id, err := format.ParseSnapshotID(s.ID)
	if err != nil {
		return false, err
	}
	for _, object := range []string{snapshotObject(before), forgottenObject(before)} {
		if _, err := v.repo.store.Size(ctx, object); !errors.Is(err, store.ErrNotFound) {
			return false, err
		}
	}
	_, err = v.repo.store.Size(ctx, snapshotObject(id))
	if errors.Is(err, store.ErrNotFound) {
		return false, nil
	}
	return err == nil, err
}
