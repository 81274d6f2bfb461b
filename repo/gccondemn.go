package repo

import (
	"context"
	"fmt"
	"slices"

	"vaultfs/repo/format"
)

// maxCondemned bounds the packs that a head calls condemned or removed: 44 bytes
// each, of a head that everybody reads. Tests lower it.
var maxCondemned = 1 << 19

// condemn lists packs that are to be removed as condemned, the first ones if there
// is not room for all, and takes others back. The publish raises the epoch, which
// the condemned packs carry: who opens a lease from then on does not rely on them.
func (c *collector) condemn(ctx context.Context, dead, back []format.PackHash) error {
	slices.SortFunc(back, format.PackHash.Compare)
	h, err := c.repo.publish(ctx, c.held, func(h *format.Head) bool {
		changed := editDamaged(c.damaged, nil)(h)
		room := max(0, maxCondemned-len(h.Condemned)-len(h.Removed))
		changed = editCondemned(dead[:min(room, len(dead))], back)(h) || changed
		if changed {
			h.Epoch++
		}
		return changed
	})
	if err != nil {
		return err
	}
	left := 0
	for _, hash := range dead {
		if h.CondemnedIn(hash) == 0 && !has(h.Removed, hash) {
			left++
		}
	}
	if left > 0 {
		c.result.Unfinished = fmt.Sprintf("more is unused than is removed at a time; %d packs are left", left)
	}
	return nil
}

// editCondemned is an edit for publish. Packs that it condemns carry the epoch
// that follows.
func editCondemned(dead, back []format.PackHash) func(*format.Head) bool {
	return func(h *format.Head) (changed bool) {
		n := len(h.Condemned)
		h.Condemned = slices.DeleteFunc(h.Condemned, func(p format.CondemnedPack) bool { return has(back, p.Pack) })
		changed = len(h.Condemned) != n
		n = len(h.Condemned)
		for _, hash := range dead {
			_, already := slices.BinarySearchFunc(h.Condemned[:n], hash, func(p format.CondemnedPack, hash format.PackHash) int { return p.Pack.Compare(hash) })
			if !already && !has(h.Removed, hash) {
				h.Condemned, changed = append(h.Condemned, format.CondemnedPack{Pack: hash, Epoch: h.Epoch + 1}), true
			}
		}
		slices.SortFunc(h.Condemned, func(a, b format.CondemnedPack) int { return a.Pack.Compare(b.Pack) })
		return changed
	}
}

// has tells whether a sorted list holds a pack.
func has(list []format.PackHash, hash format.PackHash) bool {
	_, ok := slices.BinarySearchFunc(list, hash, format.PackHash.Compare)
	return ok
}
