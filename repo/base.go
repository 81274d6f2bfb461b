package repo

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"

	"vaultfs/chunk"
	"vaultfs/repo/format"
	"vaultfs/repo/index"
	"vaultfs/repo/store"
)

// base is the earlier snapshot that a session may take segments over from.
type base struct {
	snapshot *Snapshot // as its manifest reads now that the lease names it
	err      error     // why there is none

	mu      sync.Mutex
	checked bool
	doubt   error            // of Session.doubtPacks, once it is checked
	disks   map[string]*Disk // that OpenBase gave, by name
}

// readBase reads the base's manifest. It is called once the lease exists: a
// snapshot that is there by then keeps its chunks until the session ends, so
// that none of them has to be looked up. Whether a snapshot was forgotten is
// decided here and nowhere else: it was if its manifest is gone.
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
	m, err := s.repo.readManifest(ctx, id)
	switch {
	case errors.Is(err, store.ErrNotFound):
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
	d.heir = s
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
	doubt, err := s.doubtOnce(ctx)
	if err != nil || doubt == nil {
		return err
	}
	w := &walker{repo: s.repo, seen: map[chunk.ID]loss{}, data: s.stored}
	lost, err := w.item(ctx, it)
	if err != nil {
		return err
	}
	return lost.first()
}

// doubtOnce is doubtPacks, done once in a session.
func (s *Session) doubtOnce(ctx context.Context) (doubt, err error) {
	s.base.mu.Lock()
	defer s.base.mu.Unlock()
	if s.base.checked {
		return s.base.doubt, nil
	}
	if doubt, err = s.doubtPacks(ctx); err == nil {
		s.base.doubt, s.base.checked = doubt, true
	}
	return doubt, err
}

// doubtPacks returns why not all that the base names may be there, or nil. It
// costs one listing of the packs, however much the base names: when the base
// was committed each of its chunks was in a pack that the index listed. So
// they are all there if
//
//   - the index was not made anew since, which forgets packs that are lost: it
//     still has a run of the base's session under that session's name;
//   - it is not an old one, from before the base: it lists all of that
//     session's packs;
//   - every pack that it lists is there with its length, and none is known to
//     be damaged.
func (s *Session) doubtPacks(ctx context.Context) (doubt, err error) {
	own, err := format.ParseSnapshotID(s.base.snapshot.ID)
	if err != nil {
		return nil, err
	}
	if !s.repo.listsRunOf(own) {
		return errors.New("the index was made anew"), nil
	}
	listed, err := s.listedPacks(ctx)
	if err != nil {
		return nil, err
	}
	err = s.repo.store.List(ctx, "packs", func(i store.Info) error {
		session, hash, ok := parsePack(i.Name)
		p, known := listed[hash]
		switch {
		case !ok:
		case known && p.Owner == session && int64(p.Size) == i.Size && !p.Damaged:
			delete(listed, hash)
		case !known && session == own:
			doubt = &DamageError{packLabel(hash), errors.New("the index does not list it")}
		}
		return nil
	})
	if err == nil && doubt == nil && len(listed) > 0 {
		doubt = errors.New("packs are missing, cut off or damaged")
	}
	return doubt, err
}

// listedPacks are the packs that the index lists. The local copy may turn out
// to be damaged, and is then made again.
func (s *Session) listedPacks(ctx context.Context) (map[format.PackHash]index.ListedPack, error) {
	if listed, err := s.repo.index.Packs(); err == nil {
		return listed, nil
	}
	if err := s.repo.refresh(ctx); err != nil {
		return nil, err
	}
	return s.repo.index.Packs()
}

// listsRunOf tells whether the head that the index is in step with names a run
// that the session wrote.
func (r *Repo) listsRunOf(session format.SnapshotID) bool {
	r.syncing.Lock()
	defer r.syncing.Unlock()
	return r.head != nil && r.head.HasOf(session)
}

// parsePack reads what packObject writes.
func parsePack(object string) (session format.SnapshotID, hash format.PackHash, ok bool) {
	parts := strings.Split(object, "/")
	if len(parts) != 3 {
		return session, hash, false
	}
	session, err := format.ParseSnapshotID(parts[1])
	if err != nil {
		return session, hash, false
	}
	hash, err = format.ParsePackHash(parts[2])
	return session, hash, err == nil
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
// lease keeps it. The packs are looked at once more; if there is doubt,
// everything is walked.
func (s *Session) committer(ctx context.Context) (*walker, error) {
	w := &walker{repo: s.repo, seen: map[chunk.ID]loss{}, data: s.stored}
	if len(s.base.disks) == 0 {
		return w, nil
	}
	if doubt, err := s.doubtPacks(ctx); doubt != nil || err != nil {
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
