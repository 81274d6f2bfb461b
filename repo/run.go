package repo

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"vaultfs/repo/format"
	"vaultfs/repo/store"
)

// How often a session publishes what it has stored: an interrupted first
// backup of a large disk goes on from there. Tests lower these numbers.
var (
	runBytes    = 64 << 20
	runInterval = 3 * time.Second

	// mergeRuns is how many small runs of its own a session lets stand.
	mergeRuns = 32

	// runEntries is how many entries a session puts into a run. It bounds the
	// memory that a run of many small chunks takes while it is made.
	runEntries = format.MaxRunEntries / 4
)

// runs is what a session has to tell the index, and has told it.
type runs struct {
	mu      sync.Mutex
	pending []*writtenPack
	bytes   int
	entries int
	last    time.Time // of the last publish
	own     []ownRun  // published, by this session

	publishing sync.Mutex // held by the one who publishes

	failed error // the first failure of a writer
}

type ownRun struct {
	name    format.RunName
	entries int
}

// small tells whether merging is worth it. Large runs stay as they are and do
// not count: else a backup that has many of them would merge at every publish.
func (r ownRun) small() bool { return r.entries <= runEntries/2 }

// fail keeps the first error of a writer.
func (r *runs) fail(err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.failed == nil {
		r.failed = err
	}
}

// listPack adds a durable pack to the next run, and publishes it when it is time.
func (s *Session) listPack(ctx context.Context, p *writtenPack) error {
	s.runs.mu.Lock()
	s.runs.pending = append(s.runs.pending, p)
	s.runs.bytes += p.size
	s.runs.entries += len(p.entries)
	due := s.runs.bytes >= runBytes || s.runs.entries >= runEntries || time.Since(s.runs.last) >= runInterval
	s.runs.mu.Unlock()
	if !due {
		return nil
	}
	return s.publishRun(ctx)
}

// errNotListed says that a run could not be stored: its packs are in no head.
var errNotListed = errors.New("the packs are not listed")

// publishRun publishes the pending packs. When a run cannot be stored, they
// stay pending and the error is an errNotListed.
func (s *Session) publishRun(ctx context.Context) error {
	s.runs.publishing.Lock()
	defer s.runs.publishing.Unlock()
	for pending := s.runs.take(); len(pending) > 0; {
		n := fitting(pending)
		if err := s.publishPacks(ctx, pending[:n]); err != nil {
			if errors.Is(err, errNotListed) {
				s.runs.put(pending)
			}
			return err
		}
		pending = pending[n:]
	}
	small := 0
	for _, r := range s.runs.own {
		if r.small() {
			small++
		}
	}
	if small < mergeRuns {
		return nil
	}
	return s.mergeOwn(ctx)
}

// fitting is how many of the packs one run can list.
func fitting(packs []*writtenPack) int {
	entries := 0
	for i, p := range packs {
		if entries += len(p.entries); entries > runEntries && i > 0 {
			return i
		}
	}
	return len(packs)
}

// publishPacks publishes one run.
func (s *Session) publishPacks(ctx context.Context, packs []*writtenPack) error {
	run := newRun(s.id, s.sealed, packs)
	name, err := s.repo.putRun(ctx, s.id, run)
	if err != nil {
		return fmt.Errorf("%w: %w", errNotListed, err)
	}
	if _, err := s.repo.publish(ctx, s.lease.Held, editRuns([]format.RunName{name}, nil)); err != nil {
		return err
	}
	if err := s.repo.index.Add(name, run); err != nil {
		return err
	}
	for _, e := range run.Entries {
		s.claims.drop(e.ID)
	}
	s.runs.own = append(s.runs.own, ownRun{name, len(run.Entries)})
	return nil
}

// take empties the list of pending packs.
func (r *runs) take() []*writtenPack {
	r.mu.Lock()
	defer r.mu.Unlock()
	pending := r.pending
	r.pending, r.bytes, r.entries, r.last = nil, 0, 0, time.Now()
	return pending
}

// put returns packs to the front of the list.
func (r *runs) put(packs []*writtenPack) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.pending = append(packs, r.pending...)
}

// salvage lists the packs of a session that is given up, so that the next
// attempt finds their chunks. Where there is no room even for the run, packs
// that nobody knows of are removed, the last first, until there is.
func (s *Session) salvage(ctx context.Context) {
	for {
		err := s.publishRun(ctx)
		if !errors.Is(err, errNotListed) {
			return
		}
		pending := s.runs.take()
		if len(pending) == 0 {
			return
		}
		last := len(pending) - 1
		if err := s.repo.store.Delete(ctx, packObject(s.id, pending[last].hash)); err != nil {
			return
		}
		s.runs.put(pending[:last])
	}
}

// newRun lists packs of one session.
func newRun(session format.SnapshotID, sealed []byte, packs []*writtenPack) *format.Run {
	run := &format.Run{Sessions: []format.RunSession{{ID: session, SealedSecret: sealed}}}
	for i, p := range packs {
		run.Packs = append(run.Packs, format.RunPack{Hash: p.hash, Salt: p.header.Salt, Kind: p.header.Kind, Size: uint32(p.size)})
		for ordinal, e := range p.entries {
			run.Entries = append(run.Entries, format.RunEntry{PackEntry: e, Pack: uint32(i), Ordinal: uint32(ordinal)})
		}
	}
	slices.SortFunc(run.Entries, format.RunEntry.Compare)
	return run
}

// putRun stores a run under a new name. It has been decoded again before.
func (r *Repo) putRun(ctx context.Context, session format.SnapshotID, run *format.Run) (format.RunName, error) {
	name := format.RunName{Session: session, Run: format.RunID(newSnapshotID())}
	b := run.Encode(newSalt(), r.runKey(session), name.Object())
	_, err := format.DecodeRun(r.runKey(session), name.Object(), b)
	if err == nil && len(b) > format.MaxRunSize {
		err = fmt.Errorf("%d bytes are more than %d", len(b), format.MaxRunSize)
	}
	if err == nil {
		err = r.store.Put(ctx, name.Object(), b)
	}
	if err != nil {
		return name, fmt.Errorf("writing an index run: %w", err)
	}
	return name, nil
}

// mergeOwn replaces small runs of the session by fewer large ones. The caller
// holds publishing, or nobody else publishes any more.
func (s *Session) mergeOwn(ctx context.Context) error {
	var keep, group []ownRun
	var total int
	flush := func() error {
		if len(group) > 1 {
			merged, err := s.merge(ctx, group)
			if err != nil {
				return err
			}
			group = []ownRun{merged}
		}
		keep, group, total = append(keep, group...), nil, 0
		return nil
	}
	for _, r := range s.runs.own {
		if !r.small() {
			keep = append(keep, r)
			continue
		}
		if total+r.entries > runEntries {
			if err := flush(); err != nil {
				return err
			}
		}
		group, total = append(group, r), total+r.entries
	}
	if err := flush(); err != nil {
		return err
	}
	s.runs.own = keep
	return nil
}

// merge publishes one run in the place of several.
func (s *Session) merge(ctx context.Context, group []ownRun) (ownRun, error) {
	old := make([]format.RunName, len(group))
	merged := &format.Run{Sessions: []format.RunSession{{ID: s.id, SealedSecret: s.sealed}}}
	for i, r := range group {
		old[i] = r.name
		run, err := s.repo.loadRun(ctx, r.name)
		if err != nil {
			return ownRun{}, err
		}
		base := uint32(len(merged.Packs))
		merged.Packs = append(merged.Packs, run.Packs...)
		for _, e := range run.Entries {
			e.Pack += base
			merged.Entries = append(merged.Entries, e)
		}
	}
	slices.SortFunc(merged.Entries, format.RunEntry.Compare)
	name, err := s.repo.putRun(ctx, s.id, merged)
	if err != nil {
		return ownRun{}, err
	}
	if _, err := s.repo.publish(ctx, s.lease.Held, editRuns([]format.RunName{name}, old)); err != nil {
		return ownRun{}, err
	}
	s.repo.index.Replace(old, name)
	for _, n := range old {
		if err := s.repo.store.Delete(ctx, n.Object()); err != nil && !errors.Is(err, store.ErrNotFound) {
			return ownRun{}, err
		}
	}
	return ownRun{name, len(merged.Entries)}, nil
}
