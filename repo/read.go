package repo

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"

	"vaultfs/chunk"
	"vaultfs/repo/format"
	"vaultfs/repo/index"
	"vaultfs/repo/seal"
)

// readChunk returns a chunk, decoded and proved, from memory if it was read
// not long ago. The bytes are shared: nobody writes to them.
func (r *Repo) readChunk(ctx context.Context, k format.Kind, id chunk.ID) ([]byte, error) {
	return r.chunks.share(id, func(dst []byte) ([]byte, error) {
		// Others may be waiting for the same chunk: their read must not fail
		// because the first to ask has given up.
		return r.fetchInto(context.WithoutCancel(ctx), k, id, dst)
	})
}

// A dataChunk is what the map of a disk or a file says of a chunk.
type dataChunk struct {
	id  chunk.ID
	len int64 // bytes
}

// loader decodes and proves the chunk.
func (r *Repo) loader(c dataChunk) loader {
	return func(dst []byte) ([]byte, error) { return r.fetchInto(context.Background(), format.Data, c.id, dst) }
}

// check compares a chunk's length in bytes with what the map says.
func (c dataChunk) check(length int) error {
	if int64(length) != c.len {
		return &DamageError{"chunk " + c.id.String()[:16], fmt.Errorf("%d bytes, its map says %d", length, c.len)}
	}
	return nil
}

// readPart fills p from byte off of a chunk of data on. A whole one is decoded
// where it is wanted, past the cache.
func (r *Repo) readPart(p []byte, c dataChunk, off int64) error {
	if int64(len(p)) == c.len {
		n, err := r.chunks.read(p, c.id, r.loader(c))
		if err != nil {
			return err
		}
		return c.check(n)
	}
	e, err := r.chunks.use(c.id, c.len, r.loader(c))
	if err != nil {
		return err
	}
	defer r.chunks.release(e)
	if err := c.check(len(e.bytes)); err != nil {
		return err
	}
	copy(p, e.bytes[off:])
	return nil
}

// aheadBytes bounds what is read ahead at a time of all disks and files together, in
// bytes: of many that are read at once each waits for less, and all of them keep the
// store as busy as one does.
const aheadBytes = 32 << 20

// bring has a chunk of data decoded into the cache, if not too much is being read
// ahead already. An error is told to who reads it.
func (r *Repo) bring(c dataChunk) {
	defer r.ahead.Add(-c.len)
	if n := r.ahead.Add(c.len); n > aheadBytes {
		return
	}
	if e, err := r.chunks.use(c.id, c.len, r.loader(c)); err == nil {
		r.chunks.release(e)
	}
}

// fetch reads a chunk, past the cache.
func (r *Repo) fetch(ctx context.Context, k format.Kind, id chunk.ID) ([]byte, error) {
	return r.fetchInto(ctx, k, id, nil)
}

// fetchInto reads a chunk from any of the places that hold it, into dst when that
// has the room. Where none can be read, the head is looked at again: a collector,
// or a repair, may have copied the chunk elsewhere and removed the pack since.
// After an error there is nothing of the chunk in dst.
func (r *Repo) fetchInto(ctx context.Context, k format.Kind, id chunk.ID, dst []byte) ([]byte, error) {
	places, err := r.locate(ctx, id)
	if err != nil {
		return nil, err
	}
	b, failed := r.readAny(ctx, k, places, dst)
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
	b, again := r.readAny(ctx, k, others, dst)
	if again != nil {
		return nil, errors.Join(failed, again)
	}
	return b, nil
}

// readAny reads a chunk from the first of the places that gives it. There is one
// at least.
func (r *Repo) readAny(ctx context.Context, k format.Kind, places []index.Location, dst []byte) ([]byte, error) {
	var errs []error
	for _, at := range places {
		b, err := r.readAtInto(ctx, k, at, dst)
		if err == nil {
			return b, nil
		}
		clear(dst[:cap(dst)]) // what was not proved is nobody's to see
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

// readAt reads a chunk from one place.
func (r *Repo) readAt(ctx context.Context, k format.Kind, at index.Location) ([]byte, error) {
	return r.readAtInto(ctx, k, at, nil)
}

// readAtInto is readAt into dst when that has the room.
func (r *Repo) readAtInto(ctx context.Context, k format.Kind, at index.Location, dst []byte) ([]byte, error) {
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
	memory := takeSealed(int(at.Chunk.Sealed))
	defer giveSealed(memory)
	sealed := (*memory)[:at.Chunk.Sealed]
	object := packObject(at.Session, at.Pack.Hash)
	_, err = r.store.ReadAt(ctx, object, sealed, int64(at.Chunk.Offset))
	var plain []byte
	if errors.Is(err, io.EOF) {
		err = &DamageError{label, errors.New("cut off")}
	} else if err == nil {
		plain, err = r.openChunk(dst, box, uint64(at.Ordinal), at.Chunk, sealed)
	}
	if err != nil {
		r.store.Reopen(object)
		return nil, damage(label, err)
	}
	return plain, nil
}

// keptSealed is the largest memory for sealed chunks that is used again: one for
// any chunk of a disk.
const keptSealed = 576 << 10

// sealedMemory is for sealed chunks on their way to being opened.
var sealedMemory = sync.Pool{New: func() any { return new([]byte) }}

func takeSealed(size int) *[]byte {
	b := sealedMemory.Get().(*[]byte)
	if cap(*b) < size {
		*b = make([]byte, max(size, keptSealed/4))
	}
	return b
}

func giveSealed(b *[]byte) {
	if cap(*b) <= keptSealed {
		sealedMemory.Put(b)
	}
}
