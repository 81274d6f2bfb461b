package repo

import (
	"fmt"

	"vaultfs/chunk"
	"vaultfs/repo/format"
	"vaultfs/repo/index"
)

// findBad tries every chunk that the index places in a damaged pack, and notes
// those that are lost.
func (v *verifier) findBad(hash format.PackHash, b []byte) error {
	return v.repo.index.Each([]format.PackHash{hash}, func(at index.Location) error {
		err := v.tryChunk(b, at)
		v.mu.Lock()
		defer v.mu.Unlock()
		if err == nil {
			v.result.Chunks++
			return nil
		}
		v.markBad(at.Chunk.ID, hash, err)
		return nil
	})
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

func (v *verifier) markBad(id chunk.ID, hash format.PackHash, err error) {
	if v.bad[id] == nil {
		v.bad[id] = map[format.PackHash]error{}
	}
	v.bad[id][hash] = err
}
