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
	doubts  []string                 // of Session.doubtPacks, once it was checked
	settled map[format.PackHash]bool // suspect packs: whether all in them is in others too
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
	if s.FoundDamage() {
		return nil, &DamageError{"snapshot " + s.base.snapshot.Short(), errors.New("damage was found in it")}
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
	return d, nil
}

// FoundDamage tells whether something of the base was read, and is damaged. Nothing
// more is taken over then: it is stored again only if it is put.
func (s *Session) FoundDamage() bool { return s.present.distrusts() }

// proveBase proves that a disk of the base is as whole as it was when the base
// was committed. Where there is doubt, every chunk is looked for: it may be
// that what is lost is not of this disk, or was stored again meanwhile.
func (s *Session) proveBase(ctx context.Context, it Item) error {
	doubts, err := s.doubtOnce(ctx)
	if err != nil || len(doubts) == 0 {
		return err
	}
	w := &walker{repo: s.repo, seen: map[chunk.ID]loss{}, data: s.kept}
	lost, err := w.item(ctx, it)
	if err != nil {
		return err
	}
	return lost.first()
}

// kept tells whether a chunk of the base is where the index says. Also a
// condemned pack will do: the lease names the base, so that nothing which it needs
// is removed.
func (s *Session) kept(ctx context.Context, k format.Kind, id chunk.ID, plain int64) error {
	h := s.repo.inForce()
	if h != nil && s.isThere(ctx, k, id, plain, func(p format.PackHash) bool { return !has(h.Damaged, p) }) {
		return nil
	}
	return s.stored(ctx, k, id, plain)
}

// inherited is what the finished disks of a session took over from its base, by
// their roots.
type inherited struct {
	mu    sync.Mutex
	disks map[chunk.ID]inheritedDisk
}

// An inheritedDisk is the maps that a disk took over or has as the base has them,
// one for each segment with data, and the disk of the base that they are from: any, if from several.
type inheritedDisk struct {
	base *Disk
	maps []chunk.ID
}

// set replaces what is known of a root: the same disk may have been finished
// before, and have taken over more.
func (i *inherited) set(root chunk.ID, d inheritedDisk) {
	i.mu.Lock()
	defer i.mu.Unlock()
	if d.base == nil {
		delete(i.disks, root)
		return
	}
	if i.disks == nil {
		i.disks = map[chunk.ID]inheritedDisk{}
	}
	i.disks[root] = d
}

// trusted returns what the items took over, by their roots, that need not be
// walked before the commit: it was proved when the base was committed, and the lease keeps it. It
// is nothing if there is a doubt that there was not when the base was opened,
// or the session has read damage.
func (s *Session) trusted(ctx context.Context) (map[chunk.ID]inheritedDisk, error) {
	s.inherited.mu.Lock()
	defer s.inherited.mu.Unlock()
	disks := map[chunk.ID]inheritedDisk{}
	for _, it := range s.items {
		if d, ok := s.inherited.disks[it.Root]; ok && it.Kind == ItemDisk {
			disks[it.Root] = d
		}
	}
	if len(disks) == 0 {
		return nil, nil
	}
	doubts, err := s.doubtPacks(ctx)
	if err != nil || s.present.distrusts() || !slices.Equal(doubts, s.base.doubts) {
		s.present.lookAgain()
		return nil, err
	}
	return disks, nil
}

// commitWalker returns the walker that proves the items before the commit. What
// is trusted is left out, so that the cost follows what changed: the maps that
// were taken over and whole pages of the base are not walked, and in other maps
// only those chunks are looked for that the base does not have in the same
// place.
func (s *Session) commitWalker(trusted map[chunk.ID]inheritedDisk) *walker {
	w := &walker{repo: s.repo, seen: map[chunk.ID]loss{}, data: s.stored, bases: map[chunk.ID]*Disk{}}
	for root, d := range trusted {
		w.bases[root] = d.base
		for _, id := range d.maps {
			w.seen[id] = nil
		}
		for _, p := range d.base.root.Pages {
			if !p.Map.IsZero() {
				w.seen[p.Map] = nil
			}
		}
	}
	return w
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
