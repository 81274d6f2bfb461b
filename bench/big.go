package bench

import (
	"context"
	"fmt"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
	"vaultfs/repo"
)

// Big says how large a repository of tiny chunks is to be: as many chunks and
// snapshots as years of real backups have, in little room. Its sources are
// disks and trees; each snapshot but the first of a source changes a little of
// the one before, scattered over a tenth of it.
type Big struct {
	Chunks    int // data chunks, about; half of them in the first snapshots
	Snapshots int // of all sources together, about
	Disks     int // sources that are disks
	Trees     int // sources that are trees of small files
	Noise     int // bytes of a chunk that do not compress, MinNoise to MaxNoise
	Seed      uint64
	Parallel  int // sessions at a time

	Progress func(BigProgress) // called after each snapshot, by one goroutine at a time; may be nil
}

// BigProgress tells how far a large repository has come.
type BigProgress struct {
	Snapshots, Of int
	Chunks        int64 // data chunks that are new
	Stored        int64 // bytes of packs
}

// Bounds of Big.Noise, in bytes: noise tells chunks apart, and a grain is the
// smallest chunk of a disk.
const (
	MinNoise = 16
	MaxNoise = 4096
)

// scatter is the share of a source, one in so many, that the changes of one
// snapshot lie in.
const scatter = 10

func (b *Big) sources() int { return b.Disks + b.Trees }

// rounds is how many snapshots each source gets.
func (b *Big) rounds() int { return max(1, b.Snapshots/b.sources()) }

// first is how many chunks the first snapshot of a source has.
func (b *Big) first() int {
	each := max(1, b.Chunks/b.sources())
	if b.rounds() == 1 {
		return each
	}
	return max(1, each/2)
}

// later is how many chunks are new in each other snapshot.
func (b *Big) later() int {
	return max(1, (b.Chunks/b.sources()-b.first())/max(1, b.rounds()-1))
}

func (b *Big) check() error {
	if b.Chunks < 1 || b.Snapshots < 1 || b.Disks < 0 || b.Trees < 0 || b.sources() < 1 || b.Parallel < 1 {
		return fmt.Errorf("%d chunks in %d snapshots of %d disks and %d trees, %d at a time, cannot be made",
			b.Chunks, b.Snapshots, b.Disks, b.Trees, b.Parallel)
	}
	if b.Noise < MinNoise || b.Noise > MaxNoise {
		return fmt.Errorf("%d bytes of noise: %d to %d are possible", b.Noise, MinNoise, MaxNoise)
	}
	return nil
}

// Generate adds the snapshots to a repository. Sources that it made there
// before go on from their newest snapshot. The snapshots of a source are a day
// apart, and the last is of now.
func (b *Big) Generate(ctx context.Context, r *repo.Repo) error {
	if err := b.check(); err != nil {
		return err
	}
	newest, err := newestSnapshots(ctx, r)
	if err != nil {
		return err
	}
	count := counter{BigProgress: BigProgress{Of: b.rounds() * b.sources()}, tell: b.Progress}
	now := time.Now()
	for round := range b.rounds() {
		day := now.AddDate(0, 0, round+1-b.rounds())
		made := make([]*repo.Snapshot, b.sources())
		group, ctx := errgroup.WithContext(ctx)
		group.SetLimit(b.Parallel)
		for i := range made {
			s := b.source(r, i)
			s.base, s.time = newest[s.name], day.Add(time.Duration(i)*time.Second)
			group.Go(func() (err error) {
				made[i], err = s.snapshot(ctx, &count)
				return err
			})
		}
		if err := group.Wait(); err != nil {
			return err
		}
		for _, s := range made {
			newest[s.Source] = s
		}
	}
	return nil
}

func newestSnapshots(ctx context.Context, r *repo.Repo) (map[string]*repo.Snapshot, error) {
	all, err := r.Snapshots(ctx)
	if err != nil {
		return nil, err
	}
	newest := map[string]*repo.Snapshot{}
	for _, s := range all {
		if have := newest[s.Source]; have == nil || have.Seq < s.Seq {
			newest[s.Source] = s
		}
	}
	return newest, nil
}

// A counter sums up what sessions did.
type counter struct {
	mu sync.Mutex
	BigProgress
	tell func(BigProgress)
}

func (c *counter) add(s repo.Stats) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.Snapshots++
	c.Chunks += s.ChunksNew
	c.Stored += s.BytesStored
	if c.tell != nil {
		c.tell(c.BigProgress)
	}
}
