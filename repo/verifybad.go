package repo

import (
	"context"
	"fmt"

	"vaultfs/repo/format"
	"vaultfs/repo/index"
)

// A badPack is a pack that was read and holds chunks that are lost.
type badPack struct {
	err    error               // why the first of them is
	chunks map[uint32]struct{} // their places in the pack
}

// lost returns why a chunk of the pack is lost; nil if it is not. p may be nil.
func (p *badPack) lost(ordinal uint32) error {
	if p == nil {
		return nil
	}
	if _, ok := p.chunks[ordinal]; !ok {
		return nil
	}
	return p.err
}

// suspectPacks is how many damaged packs are looked into at a time: their chunks
// are found by one pass over the index.
const suspectPacks = 16

// examine finds out which chunks of the damaged packs are lost.
func (v *verifier) examine(ctx context.Context) error {
	for len(v.suspects) > 0 {
		n := min(len(v.suspects), suspectPacks)
		if err := v.findBad(ctx, v.suspects[:n]); err != nil {
			return err
		}
		v.suspects = v.suspects[n:]
	}
	return nil
}

// findBad tries every chunk that the index places in damaged packs, and notes
// those that are lost.
func (v *verifier) findBad(ctx context.Context, packs []format.PackHash) error {
	held := map[format.PackHash][]index.Location{}
	err := v.repo.index.Each(packs, func(at index.Location) error {
		held[at.Pack.Hash] = append(held[at.Pack.Hash], at)
		return nil
	})
	if err != nil {
		return err
	}
	for _, hash := range packs {
		b, ok, err := v.readWhole(ctx, hash)
		if err != nil {
			return err
		}
		v.examined[packLabel(hash)] = ok
		for _, at := range held[hash] {
			err := v.tryChunk(b, at)
			if err == nil {
				v.result.Chunks++
				continue
			}
			v.markBad(hash, at.Ordinal, err)
		}
	}
	return nil
}

// tryChunk proves a chunk in a pack, of which b are the bytes.
func (v *verifier) tryChunk(b []byte, at index.Location) error {
	e := at.Chunk
	if int64(e.Offset)+int64(e.Sealed) > int64(len(b)) {
		return fmt.Errorf("%w: cut off", ErrDamaged)
	}
	box, err := v.repo.packBox(format.PackHeader{Kind: at.Pack.Kind, Session: at.Session, Salt: at.Pack.Salt}, at.SealedSecret)
	if err != nil {
		return err
	}
	sealed := append([]byte(nil), b[e.Offset:e.Offset+e.Sealed]...)
	_, err = v.repo.openChunk(nil, box, uint64(at.Ordinal), e, sealed)
	return err
}

func (v *verifier) markBad(hash format.PackHash, ordinal uint32, err error) {
	p := v.bad[hash]
	if p == nil {
		p = &badPack{err, map[uint32]struct{}{}}
		v.bad[hash] = p
	}
	p.chunks[ordinal] = struct{}{}
}
