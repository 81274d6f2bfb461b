package repo

import (
	"context"
	"fmt"
	"math"
)

// maxReserve bounds how many bytes of the file system sessions leave free: a
// collector must be able to write its lease and its heads, and to copy what is
// needed of a few packs, or a full repository in which no pack is wholly unused
// could never be collected.
const maxReserve = 64 << 20

// reserveOf is the reserve of a file system of so many bytes.
func reserveOf(total int64) int64 { return min(maxReserve, total/16) }

// leaves is how many bytes of the file system a session leaves free. A collector's
// copies may take most of the reserve, since what they take the place of goes
// right after.
func (s *Session) leaves(total int64) int64 {
	if s.collects {
		return reserveOf(total) / 8
	}
	return reserveOf(total)
}

// checkRoom refuses to write a pack into what has to stay free.
func (s *Session) checkRoom(ctx context.Context, bytes int64) error {
	free, total, err := s.repo.store.Free(ctx)
	if err != nil {
		return err
	}
	if leave := s.leaves(total); free < bytes+leave {
		return fmt.Errorf("%w: %.1f MiB are free where the repository lies, and %.1f MiB have to stay free so that `vaultfs gc` can work; "+
			"`vaultfs forget` and `vaultfs gc` make room", ErrNoSpace, float64(free)/(1<<20), float64(leave)/(1<<20))
	}
	return nil
}

// room is how many bytes of copies may be written.
func (c *collector) room(ctx context.Context) int64 {
	free, total, err := c.repo.store.Free(ctx)
	if err != nil {
		return math.MaxInt64 // writing will tell
	}
	return free - c.session.leaves(total)
}

// tight tells whether there is so little room that it has to be made before all
// can be copied.
func (c *collector) tight(ctx context.Context) bool {
	return len(c.plan.moves) > 0 && c.room(ctx)/2 < c.plan.CopyBytes
}

// Of a chunk that is copied, beside its bytes: its entry in the footer of its pack,
// and in a run, which is merged with others later.
const footerEntry = 1 + 32 + 4 + 4

// packCost is about what a pack costs without its chunks: most is the sealed secret.
const packCost = 1500

// takes is how many bytes the copies of a pack take, before runs are merged.
func (p *plannedPack) takes() int64 {
	return int64(p.used) + (footerEntry+2*listing)*int64(p.kept)
}
