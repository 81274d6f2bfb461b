package repo

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"

	"vaultfs/chunk"
	"vaultfs/repo/format"
	"vaultfs/repo/store"
)

// base is the earlier snapshot that a session may take segments over from.
type base struct {
	snapshot *Snapshot // as its manifest reads now that the lease names it
	err      error     // why there is none

	mu      sync.Mutex
	checked bool
	doubts  []string         // of Session.doubtPacks, once it was checked
	disks   map[string]*Disk // that OpenBase gave, by name
}

// readBase reads the base's manifest. It is called once the lease exists: a
// snapshot that is there by then, and not marked as forgotten, keeps its chunks
// until the session ends, so that none of them has to be looked up. The mark is
// looked for first: who removes a forgotten snapshot removes its manifest
// before its mark, so that one of the two looks tells.
func (s *Session) readBase(ctx context.Context) {
	if s.options.Base == nil {
		s.base.err = ErrNoBase
		return
	}
	id, err := format.ParseSnapshotID(s.options.Base.ID)
	if err != nil {
		s.base.err = err
		return
	}
	_, err = s.repo.store.Size(ctx, forgottenObject(id))
	marked := err == nil
	var m *format.Manifest
	if errors.Is(err, store.ErrNotFound) {
		m, err = s.repo.readManifest(ctx, id)
	}
	switch {
	case marked, errors.Is(err, store.ErrNotFound):
		s.base.err = fmt.Errorf("%w (snapshot %s)", ErrBaseGone, s.options.Base.Short())
	case err != nil:
		s.base.err = err
	default:
		s.base.snapshot = newSnapshot(m)
	}
}

// OpenBase opens a disk of the session's base, for DiskWriter.Inherit. The
// error is the reason, in one line, why the disk cannot be relied on, and
// everything is to be read: ErrNoBase, ErrBaseGone, ErrNotFound when the base
// has no such disk, ErrDamaged when something that it needs is not there as it
// was written. What is then put again heals the base as well.
func (s *Session) OpenBase(ctx context.Context, name string) (*Disk, error) {
	if s.base.err != nil {
		return nil, s.base.err
	}
	fail := func(err error) (*Disk, error) {
		return nil, fmt.Errorf("snapshot %s: %w", s.base.snapshot.Short(), err)
	}
	it := s.base.snapshot.Item(name)
	if it == nil || it.Kind != ItemDisk {
		return fail(fmt.Errorf("disk %s: %w", name, ErrNotFound))
	}
	// First this: what no run lists would be looked for in all packs otherwise.
	if err := s.proveBase(ctx, *it); err != nil {
		return fail(fmt.Errorf("disk %s: %w", name, err))
	}
	d, err := s.repo.OpenDisk(ctx, *it)
	if err != nil {
		return fail(err)
	}
	if have, want := d.SegmentSize(), s.repo.SegmentSize(); have != want {
		return fail(fmt.Errorf("disk %s: it has segments of %d bytes, new ones have %d", name, have, want))
	}
	if err := d.Check(); err != nil {
		return fail(fmt.Errorf("disk %s: %w", name, err))
	}
	d.openedBy = s
	s.base.mu.Lock()
	defer s.base.mu.Unlock()
	if s.base.disks == nil {
		s.base.disks = map[string]*Disk{}
	}
	s.base.disks[name] = d
	return d, nil
}

// proveBase proves that a disk of the base is as whole as it was when the base
// was committed. Where there is doubt, every chunk is looked for: it may be
// that what is lost is not of this disk, or was stored again meanwhile.
func (s *Session) proveBase(ctx context.Context, it Item) error {
	doubts, err := s.doubtOnce(ctx)
	if err != nil || len(doubts) == 0 {
		return err
	}
	w := &walker{repo: s.repo, seen: map[chunk.ID]loss{}, data: s.stored}
	lost, err := w.item(ctx, it)
	if err != nil {
		return err
	}
	return lost.first()
}

// inherited is what a session took over from its base.
type inherited struct {
	mu       sync.Mutex
	segments int64 // with data
	trusted  int64 // of them, whose maps are not walked before the commit
	maps     map[chunk.ID]struct{}
}

func (i *inherited) add(id chunk.ID) {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.maps == nil {
		i.maps = map[chunk.ID]struct{}{}
	}
	i.segments++
	i.maps[id] = struct{}{}
}

// committer returns the walker that proves the items before the commit. What
// came from the base is left out, so that the cost follows what changed: the
// maps that were taken over and whole pages of the base are not walked, and in
// other maps only those chunks are looked for that the base does not have in
// the same place. All that was proved when the base was committed, and the
// lease keeps it. The packs are looked at once more; if there is a doubt that
// there was not when the base was opened, or the session has read damage,
// everything is walked.
func (s *Session) committer(ctx context.Context) (*walker, error) {
	w := &walker{repo: s.repo, seen: map[chunk.ID]loss{}, data: s.stored}
	if len(s.base.disks) == 0 {
		return w, nil
	}
	if doubts, err := s.doubtPacks(ctx); err != nil || s.present.distrusts() || !slices.Equal(doubts, s.base.doubts) {
		s.present.lookAgain()
		return w, err
	}
	s.inherited.trusted = s.inherited.segments
	for id := range s.inherited.maps {
		w.seen[id] = nil
	}
	for _, d := range s.base.disks {
		for _, p := range d.root.Pages {
			if !p.Map.IsZero() {
				w.seen[p.Map] = nil
			}
		}
	}
	w.bases = s.base.disks
	return w, nil
}

// newExtents returns the extents that base, the map of the same segment, does
// not have in the same place.
func newExtents(m, base format.SegmentMap) (fresh format.SegmentMap) {
	for _, x := range m {
		for len(base) > 0 && base[0].Off < x.Off {
			base = base[1:]
		}
		if len(base) == 0 || base[0] != x {
			fresh = append(fresh, x)
		}
	}
	return fresh
}
