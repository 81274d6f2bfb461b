package repo

import (
	"context"
	"errors"

	"vaultfs/chunk"
	"vaultfs/repo/format"
)

// newCopySession opens a session that becomes no snapshot: it stores chunks that
// were stored before, in other packs. It reads back what it writes. The index is in step
// with a head that was loaded after the lease was opened.
func (r *Repo) newCopySession(ctx context.Context, kind format.LeaseKind, purpose string) (*Session, error) {
	h, err := r.currentHead(ctx)
	if err == nil {
		err = format.CheckFeatures("writing", h.Write)
	}
	if err != nil {
		return nil, err
	}
	s := &Session{repo: r, id: newSnapshotID(), epoch: h.Epoch, options: SessionOptions{Verify: true}, collects: kind == format.GCLease}
	if s.lease, err = r.openLease(ctx, s.id, format.Lease{Kind: kind, Epoch: h.Epoch, Purpose: purpose}); err != nil {
		return nil, err
	}
	if err = r.refresh(ctx); err == nil {
		err = s.startWriting(ctx)
	}
	if err != nil {
		return nil, errors.Join(err, s.lease.Release(context.WithoutCancel(ctx)))
	}
	return s, nil
}

// copyChunk takes the payload of a chunk, which the caller has proved, without
// asking whether the repository holds it elsewhere. Chunks that are copied one after the other
// lie together. It is not for concurrent use.
func (s *Session) copyChunk(k format.Kind, id chunk.ID, plain int, payload []byte) error {
	if err := s.ctx.Err(); err != nil {
		return s.failure(err)
	}
	switch {
	case format.PackFor(k) == format.StructurePack:
		return s.structure.add(k, id, plain, payload)
	case k.Structured():
		return s.directories.add(k, id, plain, payload)
	}
	if len(s.lanes) == 0 {
		s.Lane()
	}
	return s.lanes[0].data.add(k, id, plain, payload)
}
