package repo

import (
	"fmt"

	"vaultfs/chunk"
	"vaultfs/repo/format"
)

// findBad tries every chunk that the index places in a damaged pack, and notes
// those that are lost.
func (v *verifier) findBad(hash format.PackHash, b []byte) error {
	return v.repo.index.Each(hash, func(ordinal uint32, e format.PackEntry, header format.PackHeader, sealedSecret []byte) error {
		err := v.tryChunk(b, header, sealedSecret, ordinal, e)
		v.mu.Lock()
		defer v.mu.Unlock()
		if err == nil {
			v.result.Chunks++
			return nil
		}
		v.markBad(e.ID, hash, err)
		return nil
	})
}

func (v *verifier) tryChunk(b []byte, h format.PackHeader, sealedSecret []byte, ordinal uint32, e format.PackEntry) error {
	if int64(e.Offset)+int64(e.Sealed) > int64(len(b)) {
		return fmt.Errorf("%w: cut off", ErrDamaged)
	}
	box, err := v.repo.packBox(h, sealedSecret)
	if err != nil {
		return err
	}
	sealed := append([]byte(nil), b[e.Offset:e.Offset+e.Sealed]...)
	_, err = v.repo.openChunk(nil, box, uint64(ordinal), e, sealed)
	return err
}

func (v *verifier) markBad(id chunk.ID, hash format.PackHash, err error) {
	if v.bad[id] == nil {
		v.bad[id] = map[format.PackHash]error{}
	}
	v.bad[id][hash] = err
}
