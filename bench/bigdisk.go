package bench

import (
	"context"
	"slices"

	"vaultfs/chunk"
	"vaultfs/repo"
)

// The disk of a source has a chunk of one grain in each slot of its segments. A
// full segment of a real disk has about as many chunks.
const (
	slotsPerSegment = 512
	slot            = repo.SegmentSize / slotsPerSegment // bytes
	diskItem        = "disk"
)

// storeDisk stores the next state of a disk.
func (s *source) storeDisk(ctx context.Context, to *repo.Session) error {
	d := diskMaker{source: s, to: to, disk: to.NewDisk(), lane: to.Lane(), grain: make([]byte, chunk.Grain)}
	slots := s.first()
	var err error
	if s.base == nil {
		err = d.full(ctx, slots)
	} else {
		slots, err = d.increment(ctx)
	}
	if err != nil {
		return err
	}
	size := int64(slots) * slot
	root, err := d.disk.Finish(ctx, to.Lane(), size)
	if err != nil {
		return err
	}
	return to.AddItem(repo.Item{Name: diskItem, Kind: repo.ItemDisk, Size: size, Root: root})
}

type diskMaker struct {
	*source
	to    *repo.Session
	disk  *repo.DiskWriter
	lane  *repo.Lane
	grain []byte
}

// full stores a disk of that many slots, each with a chunk.
func (d *diskMaker) full(ctx context.Context, slots int) error {
	for segment := 0; segment*slotsPerSegment < slots; segment++ {
		m := make(repo.SegmentMap, min(slotsPerSegment, slots-segment*slotsPerSegment))
		for i := range m {
			if err := d.put(ctx, m, i); err != nil {
				return err
			}
		}
		if err := d.disk.SetSegment(ctx, d.lane, int64(segment), m); err != nil {
			return err
		}
	}
	return nil
}

// increment stores new chunks in some segments of the base's disk, and takes the
// others over. It returns the disk's size in slots.
func (d *diskMaker) increment(ctx context.Context) (slots int, err error) {
	base, err := d.to.OpenBase(ctx, diskItem)
	if err != nil {
		return 0, err
	}
	changed, each := d.spread(base.Segments(), slotsPerSegment)
	for segment := range base.Segments() {
		if !changed[segment] {
			if err := d.disk.Inherit(base, int64(segment)); err != nil {
				return 0, err
			}
			continue
		}
		old, err := base.Segment(segment)
		if err != nil {
			return 0, err
		}
		m := slices.Clone(old)
		fresh := d.choose(each, len(m))
		for i := range m {
			if !fresh[i] {
				continue
			}
			if err := d.put(ctx, m, i); err != nil {
				return 0, err
			}
		}
		if err := d.disk.SetSegment(ctx, d.lane, int64(segment), m); err != nil {
			return 0, err
		}
	}
	return int(base.Size() / slot), nil
}

// put stores a new chunk in a slot of a segment.
func (d *diskMaker) put(ctx context.Context, m repo.SegmentMap, i int) error {
	d.random.Read(d.grain[:d.Noise])
	id, err := d.lane.Put(ctx, d.grain)
	m[i] = repo.Extent{Off: int64(i) * slot, Len: chunk.Grain, ID: id}
	return err
}
