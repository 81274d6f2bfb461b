package repo

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"

	"vaultfs/chunk"
	"vaultfs/repo/format"
	"vaultfs/repo/index"
	"vaultfs/repo/seal"
)

// readChunk returns a chunk, decoded and proved, from memory if it was read
// not long ago. The bytes are shared: nobody writes to them.
func (r *Repo) readChunk(ctx context.Context, k format.Kind, id chunk.ID) ([]byte, error) {
	return r.chunks.get(id, func() ([]byte, int64, error) {
		// Others may be waiting for the same chunk: their read must not fail
		// because the first to ask has given up.
		b, err := r.fetch(context.WithoutCancel(ctx), k, id)
		return b, int64(len(b)), err
	})
}

// fetch reads a chunk from any of the places that hold it. Where none can be
// read, the head is looked at again: a collector, or a repair, may have copied
// the chunk elsewhere and removed the pack since.
func (r *Repo) fetch(ctx context.Context, k format.Kind, id chunk.ID) ([]byte, error) {
	places, err := r.locate(ctx, id)
	if err != nil {
		return nil, err
	}
	b, failed := r.readAny(ctx, k, places)
	if failed == nil || !errors.Is(failed, ErrDamaged) {
		return b, failed
	}
	if err := r.refresh(ctx); err != nil {
		return nil, errors.Join(failed, err)
	}
	others := slices.DeleteFunc(r.index.Lookup(id), func(at index.Location) bool {
		return slices.ContainsFunc(places, func(l index.Location) bool { return l.Pack.Hash == at.Pack.Hash && l.Ordinal == at.Ordinal })
	})
	if len(others) == 0 {
		return nil, failed
	}
	b, again := r.readAny(ctx, k, others)
	if again != nil {
		return nil, errors.Join(failed, again)
	}
	return b, nil
}

// readAny reads a chunk from the first of the places that gives it. There is one
// at least.
func (r *Repo) readAny(ctx context.Context, k format.Kind, places []index.Location) ([]byte, error) {
	var errs []error
	for _, at := range places {
		b, err := r.readAt(ctx, k, at)
		if err == nil {
			return b, nil
		}
		errs = append(errs, err)
	}
	return nil, errors.Join(errs...)
}

// locate finds the places of a chunk. One that no run lists is looked for in
// the footers of the packs: the head in force may be an old one.
func (r *Repo) locate(ctx context.Context, id chunk.ID) ([]index.Location, error) {
	places, err := r.lookup(ctx, id)
	if err != nil || len(places) > 0 {
		return places, err
	}
	lost := &DamageError{"chunk " + id.String()[:16], errors.New("no pack holds it")}
	if err := r.fallBack(ctx, lost); err != nil {
		return nil, err
	}
	if places = r.index.Lookup(id); len(places) == 0 {
		return nil, lost
	}
	return places, nil
}

// lookup looks a chunk up, in a newer index if this one does not know it.
func (r *Repo) lookup(ctx context.Context, id chunk.ID) ([]index.Location, error) {
	if places := r.index.Lookup(id); len(places) > 0 {
		return places, nil
	}
	if err := r.refresh(ctx); err != nil {
		return nil, err
	}
	return r.index.Lookup(id), nil
}

func (r *Repo) readAt(ctx context.Context, k format.Kind, at index.Location) ([]byte, error) {
	label := packLabel(at.Pack.Hash)
	if at.Chunk.Kind != k {
		return nil, &DamageError{label, fmt.Errorf("chunk %v is a %v, not a %v", at.Chunk.ID, at.Chunk.Kind, k)}
	}
	box, err := r.boxes.get(at.Pack.Hash, func() (*seal.Box, int64, error) {
		box, err := r.packBox(format.PackHeader{Kind: at.Pack.Kind, Session: at.Session, Salt: at.Pack.Salt}, at.SealedSecret)
		return box, 1, err
	})
	if err != nil {
		return nil, err
	}
	sealed := make([]byte, at.Chunk.Sealed)
	_, err = r.store.ReadAt(ctx, packObject(at.Session, at.Pack.Hash), sealed, int64(at.Chunk.Offset))
	if errors.Is(err, io.EOF) {
		return nil, &DamageError{label, errors.New("cut off")}
	} else if err != nil {
		return nil, damage(label, err)
	}
	plain, err := r.openChunk(nil, box, uint64(at.Ordinal), at.Chunk, sealed)
	return plain, damage(label, err)
}
