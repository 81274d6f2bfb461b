package bench

import (
	"context"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"time"

	"vaultfs/repo"
)

// A source is one source of a large repository, and what its next snapshot is
// made from.
type source struct {
	*Big
	repo *repo.Repo
	name string
	tree bool
	base *repo.Snapshot // the one before; nil if there is none
	time time.Time
	// random is seeded with the source and the snapshot's number, so that no two
	// chunks are equal.
	random *rand.ChaCha8
}

// source is number i of the sources: disks come first.
func (b *Big) source(r *repo.Repo, i int) *source {
	s := &source{Big: b, repo: r, tree: i >= b.Disks}
	if s.name = fmt.Sprintf("disk/big-%03d", i); s.tree {
		s.name = fmt.Sprintf("tree/big-%03d", i-b.Disks)
	}
	return s
}

// snapshot makes and commits the next snapshot.
func (s *source) snapshot(ctx context.Context, count *counter) (*repo.Snapshot, error) {
	seq := uint64(1)
	if s.base != nil {
		seq += s.base.Seq
	}
	var seed [32]byte
	binary.LittleEndian.PutUint64(seed[:], s.Seed)
	binary.LittleEndian.PutUint64(seed[8:], seq)
	copy(seed[16:], s.name)
	s.random = rand.NewChaCha8(seed)

	kind := "disk"
	if s.tree {
		kind = "tree"
	}
	to, err := s.repo.NewSession(ctx, repo.SessionOptions{Source: s.name, Kind: kind, Machine: s.name, Time: s.time, Base: s.base})
	if err != nil {
		return nil, err
	}
	defer to.Abort(ctx)
	if s.tree {
		err = s.storeTree(ctx, to)
	} else {
		err = s.storeDisk(ctx, to)
	}
	if err != nil {
		return nil, err
	}
	snap, err := to.Commit(ctx, repo.Info{Program: "bigrepo"})
	if err == nil {
		count.add(to.Stats())
	}
	return snap, err
}

// spread draws the parts of the source, of so many with that many chunks each,
// that change, and how many chunks change in each.
func (s *source) spread(parts, chunks int) (changed map[int]bool, each int) {
	n := min(parts, max(1, parts/scatter, (2*s.later()+chunks-1)/chunks))
	return s.choose(n, parts), (s.later() + n - 1) / n
}

// choose draws n different ones of the numbers below of, or all if there are
// no more.
func (s *source) choose(n, of int) map[int]bool {
	n = min(n, of)
	chosen := make(map[int]bool, n)
	for len(chosen) < n {
		chosen[s.below(of)] = true
	}
	return chosen
}

func (s *source) below(n int) int { return int(s.random.Uint64() % uint64(n)) }
