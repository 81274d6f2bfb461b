package repo

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"vaultfs/repo/format"
	"vaultfs/repo/store"
)

// tellOthers writes into the head in which packs damage was found, so that no
// later backup relies on them: what it needs is stored again, and heals the
// snapshots before it. A pack that was proved is taken from the list. Where
// the repository cannot be written to, or a newer version has written to it,
// only the one who asked learns of it.
func (v *verifier) tellOthers(ctx context.Context, pin *Pin) error {
	if len(v.result.Newer) > 0 {
		return nil
	}
	damaged := v.damagedPacks()
	edit := editDamaged(damaged, func(p format.PackHash) bool { return v.packs.has(p, packGood) })
	h, err := v.repo.currentHead(ctx)
	if err != nil || !edit(h) {
		return nil // a head that cannot be read is a finding already
	}
	if err := pin.mustHold(ctx); err != nil {
		v.repo.warn(fmt.Sprintf("later backups are not told of the damage: %v", err))
		return nil
	}
	_, err = v.repo.publish(ctx, pin.Held, edit)
	if errors.Is(err, store.ErrFull) || errors.Is(err, store.ErrReadOnly) {
		v.repo.warn(fmt.Sprintf("later backups are not told of the damage: %v", err))
		return nil
	}
	return err
}

// damagedPacks are the packs that hold a chunk that cannot be read.
func (v *verifier) damagedPacks() (packs []format.PackHash) {
	for hash := range v.bad {
		packs = append(packs, hash)
	}
	slices.SortFunc(packs, format.PackHash.Compare)
	return packs
}

// editDamaged is an edit for publish: it adds damaged packs to the head's list
// and removes those that were proved. proved may be nil.
func editDamaged(damaged []format.PackHash, proved func(format.PackHash) bool) func(*format.Head) bool {
	return func(h *format.Head) (changed bool) {
		n := len(h.Damaged)
		h.Damaged = slices.DeleteFunc(h.Damaged, func(p format.PackHash) bool { return proved != nil && proved(p) })
		changed = len(h.Damaged) != n
		for _, p := range damaged {
			if i, ok := slices.BinarySearchFunc(h.Damaged, p, format.PackHash.Compare); !ok {
				h.Damaged, changed = slices.Insert(h.Damaged, i, p), true
			}
		}
		return changed
	}
}
