package repo

import (
	"context"
	"errors"
	"fmt"
	"os"

	"vaultfs/repo/format"
	"vaultfs/repo/store"
)

// Why a snapshot was forgotten, as its mark says.
const (
	ForgotByPolicy = "policy"
	ForgotByName   = "by name"
)

// Forget marks snapshots as forgotten, with a word on why. From then on they are
// not listed any more, cannot be opened, and no session relies on them; GC frees
// their space once nobody reads them. The marks are durable when it returns. One
// that is marked already, or gone, is no error. After an error those before it
// are marked: ErrNoSpace when there is no room for a mark.
func (r *Repo) Forget(ctx context.Context, reason string, snapshots ...*Snapshot) error {
	if err := r.mayForget(ctx); err != nil {
		return err
	}
	for _, s := range snapshots {
		if err := r.forget(ctx, reason, s); err != nil {
			return fmt.Errorf("forgetting snapshot %s of %s: %w", s.Short(), s.Source, err)
		}
	}
	return nil
}

// mayForget refuses where a newer version has said that this one may not write.
// A head that is lost says nothing of the kind: a mark needs no index.
func (r *Repo) mayForget(ctx context.Context) error {
	if err := format.CheckFeatures("writing", r.config.Write); err != nil {
		return err
	}
	h, err := r.currentHead(ctx)
	switch {
	case errors.Is(err, ErrNewerFormat):
		return err
	case isDamage(err):
		return nil
	case err != nil:
		return err
	}
	return format.CheckFeatures("writing", h.Write)
}

// forget marks one snapshot. The manifest is looked for first, so that there is
// rarely a mark of a snapshot that was removed meanwhile; one all the same
// is dropped by the next collection.
func (r *Repo) forget(ctx context.Context, reason string, s *Snapshot) error {
	id, err := format.ParseSnapshotID(s.ID)
	if err != nil {
		return err
	}
	_, err = r.store.Size(ctx, snapshotObject(id))
	if errors.Is(err, store.ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	host, _ := os.Hostname()
	m := format.Mark{Snapshot: id, Source: s.Source, Time: wallClock().Unix(), Host: host, Reason: reason, Archive: s.archive()}
	name := forgottenObject(id)
	err = r.store.Put(ctx, name, m.Encode(newSalt(), r.markKey, name))
	switch {
	case errors.Is(err, store.ErrExists):
		return nil
	case errors.Is(err, store.ErrFull):
		return noRoomToForget(err)
	}
	return err
}

// noRoomToForget says what to do on a full disk.
func noRoomToForget(err error) error {
	return fmt.Errorf("%w; a mark needs some kilobytes: make that room on the file system of the repository by other means, "+
		"then forget again and run `vaultfs gc`", err)
}

// marks returns the snapshots that have a mark. A mark that cannot be read counts,
// for everybody but who removes: see mark.
func (r *Repo) marks(ctx context.Context) (map[format.SnapshotID]bool, error) {
	ids, err := r.listIDs(ctx, "forgotten/")
	if err != nil {
		return nil, err
	}
	marks := make(map[format.SnapshotID]bool, len(ids))
	for _, id := range ids {
		marks[id] = true
	}
	return marks, nil
}

// mark reads the mark of a snapshot; nil if it has none. Who removes a snapshot
// needs a mark that can be read: whoever can put files into the store can make
// one that cannot.
func (r *Repo) mark(ctx context.Context, id format.SnapshotID) (*format.Mark, error) {
	name := forgottenObject(id)
	b, err := r.store.Get(ctx, name, format.MaxMarkSize)
	if errors.Is(err, store.ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, damage("mark of snapshot "+id.String(), err)
	}
	m, err := format.DecodeMark(r.markKey, name, b)
	if err == nil && m.Snapshot != id {
		err = fmt.Errorf("%w: it is of snapshot %v", ErrDamaged, m.Snapshot)
	}
	if err != nil {
		return nil, damage("mark of snapshot "+id.String(), err)
	}
	return m, nil
}
