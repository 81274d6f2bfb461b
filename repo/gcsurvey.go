package repo

import (
	"bytes"
	"cmp"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strings"

	"vaultfs/chunk"
	"vaultfs/repo/format"
	"vaultfs/repo/index"
	"vaultfs/repo/store"
)

// A survey is what a collector saw of the repository. It looks in this order:
// head, files, marks, leases, manifests. So a file that it saw was there when
// it saw the leases, and a session that had ended by then and committed is seen
// by its manifest.
type survey struct {
	head  *format.Head
	view  *index.View
	packs []packState // by their numbers in the view
	// grades tell how far they are to be relied on.
	grades []grade
	// unlisted are the pack files that the index does not list, and runs those of
	// runs that the head does not name. Both may be of living sessions.
	unlisted   []store.Info
	runs       []store.Info
	runBytes   int64                            // of all run files
	marks      map[format.SnapshotID]bool       // whether each can be read
	marked     map[format.SnapshotID]store.Info // their files
	remembered map[format.SnapshotID]bool       // whose marks name an archive and are to stay
	works      []work
	named      map[format.SnapshotID]bool // by leases
	owners     map[format.SnapshotID]bool // of leases
	unclear    *SessionInfo               // see unreadable
	blockers   map[uint64]*SessionInfo    // see blocker: by epoch, as far as it was asked
	// roots are the manifests that are kept, and forgotten those that are removed.
	roots     []root
	forgotten []root
	unread    []error // of manifests and marks that cannot be read
}

// A packState is what a survey saw of a pack that the index lists.
type packState struct {
	there   bool  // the file is there with its whole length
	file    bool  // there is a file
	bytes   int64 // of the file
	written int64 // Unix nanoseconds
}

// A root is a snapshot, as far as a collector is concerned.
type root struct {
	id       format.SnapshotID
	source   string
	previous format.SnapshotID
	chunks   []chunk.ID
	file     store.Info
	doomed   bool // forgotten, but a lease names it, or may
}

// look looks at the repository. The caller closes the view.
func (c *collector) look(ctx context.Context) (s *survey, err error) {
	s = &survey{}
	if s.head, err = c.sync(ctx); err != nil {
		return nil, err
	}
	if s.view, err = c.repo.index.View(); err != nil {
		return nil, err
	}
	err = s.listFiles(ctx, c.repo)
	if err == nil {
		err = s.listMarks(ctx, c.repo)
	}
	if err == nil {
		err = s.listLeases(ctx, c.repo, c.options.DryRun)
	}
	if err == nil {
		err = s.listManifests(ctx, c.repo)
	}
	if err == nil {
		err = s.catchUp(ctx, c)
	}
	if err != nil {
		s.view.Close()
		return nil, err
	}
	s.gradePacks(c.damaged)
	return s, nil
}

// catchUp goes on to the newest head: a snapshot that was committed since the
// survey began names packs which the head of that moment does not list.
func (s *survey) catchUp(ctx context.Context, c *collector) error {
	newest, err := c.sync(ctx)
	if err != nil || newest.Seq == s.head.Seq {
		return err
	}
	view, err := c.repo.index.View()
	if err != nil {
		return err
	}
	old, before := s.view.Packs(), s.packs
	now := view.Packs()
	s.packs = make([]packState, len(now.List))
	for i, p := range now.List {
		if at, ok := old.Find(p.Hash); ok {
			s.packs[i] = before[at]
			continue
		}
		size, err := c.repo.store.Size(ctx, packObject(now.Owner(i), p.Hash))
		if err == nil {
			s.packs[i] = packState{there: size == int64(p.Size), file: true, bytes: size}
		}
	}
	s.view.Close()
	s.view = view
	s.unlisted = slices.DeleteFunc(s.unlisted, func(o store.Info) bool {
		_, hash, _ := parsePack(o.Name)
		_, listed := now.Find(hash)
		return listed
	})
	return nil
}

func (s *survey) listFiles(ctx context.Context, r *Repo) error {
	packs := s.view.Packs()
	s.packs = make([]packState, len(packs.List))
	err := r.store.List(ctx, "packs", func(o store.Info) error {
		session, hash, ok := parsePack(o.Name)
		if !ok {
			return nil
		}
		i, listed := packs.Find(hash)
		switch {
		case !listed:
			s.unlisted = append(s.unlisted, o)
		case packs.Owner(i) == session:
			s.packs[i] = packState{there: int64(packs.List[i].Size) == o.Size, file: true, bytes: o.Size, written: o.ModTime.UnixNano()}
		}
		return nil
	})
	if err != nil {
		return err
	}
	return r.store.List(ctx, "runs", func(o store.Info) error {
		s.runBytes += o.Size
		if n, err := parseRunName(o.Name); err == nil && !s.head.Has(n) {
			s.runs = append(s.runs, o)
		}
		return nil
	})
}

// listMarks reads the marks. One that cannot be read removes nothing.
func (s *survey) listMarks(ctx context.Context, r *Repo) error {
	s.marks, s.marked = map[format.SnapshotID]bool{}, map[format.SnapshotID]store.Info{}
	s.remembered = map[format.SnapshotID]bool{}
	err := r.store.List(ctx, "forgotten", func(o store.Info) error {
		if id, err := format.ParseSnapshotID(strings.TrimPrefix(o.Name, "forgotten/")); err == nil {
			s.marked[id] = o
		}
		return nil
	})
	if err != nil {
		return err
	}
	for id := range s.marked {
		m, err := r.mark(ctx, id)
		if err != nil && !isDamage(err) && !errors.Is(err, ErrNewerFormat) {
			return err
		}
		if err != nil {
			r.warn(fmt.Sprintf("%v; the snapshot is kept", err))
		}
		s.marks[id] = err == nil && m != nil
		if s.marks[id] && remembers(m) {
			s.remembered[id] = true
		}
	}
	return nil
}

// listLeases looks more than once. A reader's lease may take the place of
// another one: what lists entry by entry may miss the new one, which came behind
// its back, and the old one, which had gone when it came there. So it goes on
// until it sees no lease that it had not seen before. A dry run leaves the dead
// ones out, which it may not clear away.
func (s *survey) listLeases(ctx context.Context, r *Repo, living bool) error {
	for first := true; ; first = false {
		all, err := r.works(ctx)
		if err != nil {
			return err
		}
		fresh := 0
		for _, w := range all {
			if living && !w.Alive {
				continue
			}
			if i := slices.IndexFunc(s.works, func(o work) bool { return o.ID == w.ID }); i >= 0 {
				s.works[i] = w
				continue
			}
			s.works = append(s.works, w)
			fresh++
		}
		if !first && fresh == 0 {
			s.noteNames()
			return nil
		}
	}
}

// noteNames notes whose the leases are and what they name: there may be many, and
// more that is asked about.
func (s *survey) noteNames() {
	s.named, s.owners, s.blockers = map[format.SnapshotID]bool{}, map[format.SnapshotID]bool{}, map[uint64]*SessionInfo{}
	for i, w := range s.works {
		s.owners[w.id] = true
		if w.lease == nil {
			s.unclear = &s.works[i].SessionInfo
			continue
		}
		for _, id := range w.lease.Snapshots {
			s.named[id] = true
		}
	}
}

// listManifests tells the snapshots that are kept from those that were forgotten.
func (s *survey) listManifests(ctx context.Context, r *Repo) error {
	var files []store.Info
	err := r.store.List(ctx, "snapshots", func(o store.Info) error {
		files = append(files, o)
		return nil
	})
	if err != nil {
		return err
	}
	slices.SortFunc(files, func(a, b store.Info) int { return strings.Compare(a.Name, b.Name) })
	for _, o := range files {
		id, err := format.ParseSnapshotID(strings.TrimPrefix(o.Name, "snapshots/"))
		if err != nil {
			continue
		}
		forgotten := s.marks[id] && !s.leased(id)
		m, err := r.readStructure(ctx, id)
		switch {
		case errors.Is(err, store.ErrNotFound):
		case err != nil && (!isDamage(err) || !forgotten):
			s.unread = append(s.unread, err)
		case forgotten:
			s.forgotten = append(s.forgotten, newRoot(id, m, o))
		default:
			r := newRoot(id, m, o)
			r.doomed = s.marks[id]
			s.roots = append(s.roots, r)
		}
	}
	return ctx.Err()
}

// readStructure reads the part of a manifest that says what the snapshot needs.
func (r *Repo) readStructure(ctx context.Context, id format.SnapshotID) (m *format.Manifest, err error) {
	b, err := r.store.Get(ctx, snapshotObject(id), format.MaxManifestSize)
	if errors.Is(err, store.ErrNotFound) {
		return nil, err
	}
	if err == nil {
		m, err = format.DecodeManifest(id, r.manifestKey(id), nil, b)
	}
	return m, damage("snapshot "+id.String(), err)
}

// newRoot keeps of a manifest what matters; m is nil if it cannot be read.
func newRoot(id format.SnapshotID, m *format.Manifest, file store.Info) root {
	if m == nil {
		return root{id: id, file: file}
	}
	st := &m.Structure
	return root{id: id, source: st.Source, previous: st.Previous, chunks: st.Structured, file: file}
}

// leased tells whether a lease names a snapshot, or may name it.
func (s *survey) leased(id format.SnapshotID) bool {
	return s.named[id] || s.unreadable() != nil
}

// atWork tells whether there was a lease of a session.
func (s *survey) atWork(id format.SnapshotID) bool {
	return s.owners[id]
}

// unreadable returns a session whose lease cannot be read. It may be one that is
// just being committed.
func (s *survey) unreadable() *SessionInfo {
	return s.unclear
}

// blocker returns a writer that may rely on a pack which was condemned in an
// epoch: one whose lease states an epoch below that.
func (s *survey) blocker(epoch uint64) *SessionInfo {
	who, known := s.blockers[epoch]
	if !known {
		who = s.findBlocker(epoch)
		s.blockers[epoch] = who
	}
	return who
}

func (s *survey) findBlocker(epoch uint64) *SessionInfo {
	for i, w := range s.works {
		switch {
		case w.lease == nil:
			return &s.works[i].SessionInfo
		case w.lease.Kind == format.WriteLease && w.lease.Epoch < epoch:
			return &s.works[i].SessionInfo
		}
	}
	return nil
}

// A grade tells how far a pack is to be relied on.
type grade uint8

const (
	good      grade = iota
	condemned       // but there, with its whole length
	damaged         // known to be damaged, but there
	missing         // or cut off
)

// gradePacks judges the packs of the view. Others than the head says may be known
// to be damaged.
func (s *survey) gradePacks(alsoDamaged []format.PackHash) {
	packs := s.view.Packs()
	s.grades = make([]grade, len(packs.List))
	for i := range packs.List {
		_, isCondemned := packs.Condemned(i)
		switch {
		case !s.packs[i].there:
			s.grades[i] = missing
		case packs.List[i].Damaged:
			s.grades[i] = damaged
		case isCondemned:
			s.grades[i] = condemned
		}
	}
	for _, hash := range alsoDamaged {
		s.noteDamage(hash)
	}
}

// noteDamage notes that a pack is damaged.
func (s *survey) noteDamage(hash format.PackHash) {
	if i, ok := s.view.Packs().Find(hash); ok {
		s.grades[i] = max(s.grades[i], damaged)
	}
}

// compareIDs orders IDs. Their first bytes, which are compared as a number, nearly
// always tell.
func compareIDs(a, b chunk.ID) int {
	if c := cmp.Compare(binary.BigEndian.Uint64(a[:]), binary.BigEndian.Uint64(b[:])); c != 0 {
		return c
	}
	return bytes.Compare(a[:], b[:])
}
