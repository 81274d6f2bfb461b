package repo

import (
	"context"
	"fmt"

	"github.com/zeebo/blake3"
	"vaultfs/repo/format"
	"vaultfs/repo/seal"
)

// readBack reads a pack from the medium and proves that every chunk in it is
// what its entry says. It reads over the bytes that were written, which are
// wiped first: nothing but the medium can make them right again.
func (r *Repo) readBack(ctx context.Context, name string, p *writtenPack) error {
	clear(p.bytes)
	b, err := r.store.GetCold(ctx, name, format.MaxPackSize, p.bytes)
	if err != nil {
		return err
	}
	if len(b) != p.size {
		return fmt.Errorf("%w: %d bytes, want %d", ErrDamaged, len(b), p.size)
	}
	entries, err := r.checkPack(p.hash, b)
	if err != nil {
		return err
	}
	if len(entries) != len(p.entries) {
		return fmt.Errorf("%w: %d chunks, want %d", ErrDamaged, len(entries), len(p.entries))
	}
	return nil
}

// checkPack proves a whole pack: its bytes have its name, its footer decodes,
// and every chunk in it decodes to bytes that have the chunk's ID.
func (r *Repo) checkPack(hash format.PackHash, b []byte) ([]format.PackEntry, error) {
	if blake3.Sum256(b) != hash {
		return nil, fmt.Errorf("%w: its bytes do not have its name's hash", ErrDamaged)
	}
	pack, err := format.DecodePack(b, r.packBox)
	if err != nil {
		return nil, err
	}
	box, err := r.packBox(pack.Header, pack.SealedSecret)
	if err != nil {
		return nil, err
	}
	var plain []byte
	for i, e := range pack.Entries {
		if format.PackFor(e.Kind) != pack.Header.Kind {
			return nil, fmt.Errorf("%w: chunk %v: a %v in a pack of kind %d", ErrDamaged, e.ID, e.Kind, pack.Header.Kind)
		}
		if plain, err = r.openChunk(plain, box, uint64(i), e, b[e.Offset:e.Offset+e.Sealed]); err != nil {
			return nil, fmt.Errorf("chunk %v: %w", e.ID, err)
		}
	}
	return pack.Entries, nil
}

// openChunk opens a sealed chunk and compares its ID. It overwrites sealed.
func (r *Repo) openChunk(dst []byte, box *seal.Box, ordinal uint64, e format.PackEntry, sealed []byte) ([]byte, error) {
	plain, err := format.OpenChunk(dst, box, ordinal, e, sealed)
	if err != nil {
		return nil, err
	}
	if r.name(e.Kind, plain) != e.ID {
		return nil, fmt.Errorf("%w: its bytes do not have its ID", ErrDamaged)
	}
	return plain, nil
}
