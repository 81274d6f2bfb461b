package fusefs

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"weak"

	"vaultfs/repo"
)

// idleDisks is how many disks stay open that no file handle needs. A walk over
// the whole tree opens every disk, and an open disk of many TiB is some megabytes.
const idleDisks = 16

// shelf opens disks when they are needed and shares them. Disks of the same root
// are the same, in whatever snapshots they are.
type shelf struct {
	repository Repository
	flights    *flights

	mu     sync.Mutex
	known  map[string]*knownDisk
	recent []*openDisk // the last used at the end; keeps them from being collected
}

// knownDisk outlives the open disk: sizes are asked for more often than content.
type knownDisk struct {
	open  weak.Pointer[openDisk]
	sizes diskSizes
}

// get returns the open disk of an item. It stays open while the caller refers to
// it.
func (s *shelf) get(ctx context.Context, it repo.Item) (*openDisk, error) {
	key := diskKey(it)
	if d := s.find(key); d != nil {
		return d, nil
	}
	d, err := s.flights.do(ctx, "disk "+key, func(ctx context.Context) (any, error) {
		disk, err := s.repository.OpenDisk(ctx, it)
		if err != nil {
			return nil, err
		}
		d, err := newOpenDisk(disk)
		if err != nil {
			return nil, err
		}
		s.keep(key, d)
		return d, nil
	})
	if err != nil {
		return nil, err
	}
	return d.(*openDisk), nil
}

// sizes returns the sizes of a disk's files, and opens it only the first time.
func (s *shelf) sizes(ctx context.Context, it repo.Item) (diskSizes, error) {
	s.mu.Lock()
	known := s.known[diskKey(it)]
	s.mu.Unlock()
	if known != nil {
		return known.sizes, nil
	}
	d, err := s.get(ctx, it)
	if err != nil {
		return diskSizes{}, err
	}
	return d.sizes, nil
}

func diskKey(it repo.Item) string { return fmt.Sprintf("%v %d", it.Root, it.Size) }

func (s *shelf) find(key string) *openDisk {
	s.mu.Lock()
	defer s.mu.Unlock()
	known := s.known[key]
	if known == nil {
		return nil
	}
	d := known.open.Value()
	if d != nil {
		s.use(d)
	}
	return d
}

func (s *shelf) keep(key string, d *openDisk) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.known[key] = &knownDisk{weak.Make(d), d.sizes}
	s.use(d)
}

// use moves a disk to the end of the recent ones.
func (s *shelf) use(d *openDisk) {
	if i := slices.Index(s.recent, d); i >= 0 {
		s.recent = slices.Delete(s.recent, i, i+1)
	}
	s.recent = append(s.recent, d)
	if len(s.recent) > idleDisks {
		s.recent = slices.Delete(s.recent, 0, len(s.recent)-idleDisks)
	}
}
