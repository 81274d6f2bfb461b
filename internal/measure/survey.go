package measure

import (
	"context"
	"crypto/rand"
	"hash/maphash"
	"runtime"
	"sync"

	"golang.org/x/sync/errgroup"
	"vaultfs/chunk"
	"vaultfs/ingest"
	"vaultfs/repo"
)

// How much the sketches remember: of the own scheme chunks of 150 GB in 40 MB;
// of each other one a few megabytes, and 512 MiB are compressed before a sample
// must do.
const (
	ownLimit, ownBudget     = 1 << 20, 1 << 40
	otherLimit, otherBudget = 1 << 16, 512 << 20
)

// perChunk is what a chunk takes beside its payload, in bytes: its seal, and
// its entries in the pack's footer, in the index and in the disk's map.
const perChunk = 16 + 41 + 50 + 45

// A Survey finds out what disks come to in a repository. It goes through one disk
// after the other; what an earlier one held is not new in a later one.
type Survey struct {
	cutter   *chunk.Disk
	namer    *chunk.Namer
	seed     maphash.Seed
	sketches []*sketch // of schemes
	disks    int
}

// NewSurvey has seen no disk.
func NewSurvey() *Survey {
	var cutting, naming [32]byte
	rand.Read(cutting[:]) // never fails (crypto/rand)
	rand.Read(naming[:])
	s := &Survey{cutter: chunk.NewDisk(cutting), namer: chunk.NewNamer(naming), seed: maphash.MakeSeed()}
	for i := range schemes {
		if i == 0 {
			s.sketches = append(s.sketches, newSketch(ownLimit, ownBudget))
		} else {
			s.sketches = append(s.sketches, newSketch(otherLimit, otherBudget))
		}
	}
	return s
}

// A Disk is what a disk comes to. Lengths are in bytes.
type Disk struct {
	Size   int64 // as the guest sees it
	Data   int64 // that are no holes in the image
	Read   int64 // of Data; less if it was interrupted
	Zeros  int64 // of what was read, in grains that hold nothing
	Chunks int64 // as vaultfs cuts
	New    Amount
	Shared int64 // that disks before hold, too
}

// Used is what of the disk was read and holds something.
func (d *Disk) Used() int64 { return d.Read - d.Zeros }

// A SchemeCost is what all disks of a survey come to when they are cut so.
type SchemeCost struct {
	Scheme
	Chunks int64 // as they come
	Bytes  int64
	Kept   Amount // the distinct ones
	OneIn  int64  // of the distinct chunks stands for all: 1 if all were counted
}

// Schemes has the own one first.
func (s *Survey) Schemes() (costs []SchemeCost) {
	for i, k := range s.sketches {
		costs = append(costs, SchemeCost{schemes[i], k.chunks, k.bytes, k.of(-1), k.oneIn()})
	}
	return costs
}

// Add goes through a disk. When ctx ends it returns what it saw until then,
// beside the error.
func (s *Survey) Add(ctx context.Context, img ingest.Image, p *ingest.Progress) (*Disk, error) {
	d, own := &Disk{Size: img.Size()}, s.sketches[0]
	chunks, earlier := own.chunks, own.earlier
	var err error
	if d.Data, err = ingest.DataBytes(ctx, img); err != nil {
		return d, err
	}
	var mu sync.Mutex
	workers, ctx2 := errgroup.WithContext(ctx)
	segments := segmentsOf(ctx2, img.Size())
	for range runtime.GOMAXPROCS(0) {
		workers.Go(func() error {
			l := newLooker(s, img, s.disks, p)
			defer func() {
				mu.Lock()
				defer mu.Unlock()
				d.Read, d.Zeros = d.Read+l.read, d.Zeros+l.zeros
			}()
			for i := range segments {
				if err := l.segment(ctx2, i*repo.SegmentSize); err != nil {
					return err
				}
			}
			return ctx2.Err()
		})
	}
	err = workers.Wait()
	d.Chunks, d.Shared = own.chunks-chunks, own.earlier-earlier
	d.New = own.of(s.disks)
	s.disks++
	return d, err
}

// segmentsOf counts the segments of a disk, until ctx ends.
func segmentsOf(ctx context.Context, size int64) <-chan int64 {
	c := make(chan int64)
	go func() {
		defer close(c)
		for i := range (size + repo.SegmentSize - 1) / repo.SegmentSize {
			select {
			case c <- i:
			case <-ctx.Done():
				return
			}
		}
	}()
	return c
}
