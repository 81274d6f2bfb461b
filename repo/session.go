package repo

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"
	"vaultfs/chunk"
	"vaultfs/repo/format"
	"vaultfs/repo/seal"
	"vaultfs/repo/store"
)

// SessionOptions says what snapshot a session is to become.
type SessionOptions struct {
	Source  string    // "vm/win11"
	Kind    string    // "vm"
	Machine string    // what the source is: a domain's UUID; "" where that has no meaning
	Adopt   bool      // the source may have belonged to another machine
	Time    time.Time // of the snapshot; zero for now
	Tags    []string  // a person's words for the snapshot
	Verify  bool      // read back and rehash what was written before the commit
	// Base is an earlier snapshot, mostly of the same source, from whose disks
	// segments may be taken over; nil for none. See Session.OpenBase.
	Base *Snapshot
	// GoOn makes the newest snapshot of the source the base, if Base is nil.
	GoOn bool
	// Inspect is called by Commit when everything is stored and its structure
	// has been checked, before the snapshot exists; nil for nothing. It can read
	// what the snapshot will hold. With its error the commit fails.
	Inspect func(ctx context.Context, open func(Item) (*File, error)) error
}

// Stats counts what a session has done so far.
type Stats struct {
	ChunksTotal, ChunksNew int64
	BytesTotal             int64 // given to Put, in chunks
	BytesNew               int64 // of them in chunks that the repository did not hold
	BytesStored            int64 // of packs that are durable
	BytesAdded             int64 // of the new data chunks, compressed and sealed; counted when they are put
}

// A Session is a snapshot that is not committed yet. It holds a lease from
// NewSession to Commit or Abort, and at its end one of these is called. Its
// methods and its lanes may be used by several goroutines at once.
type Session struct {
	repo     *Repo
	id       format.SnapshotID
	options  SessionOptions
	previous *Snapshot
	seq      uint64 // that the snapshot will have: see census.nextSeq
	lease    *store.Lease
	epoch    uint64 // that the lease states
	// wanted, if it is set, tells which chunks are stored; others are only named.
	wanted func(chunk.ID) bool
	// collects is set of a collector's, which may take room from the reserve.
	collects bool
	secret   seal.Key
	sealed   []byte // secret, sealed to the repository's identity
	started  time.Time

	mu    sync.Mutex
	items []Item
	trees map[chunk.ID]Totals // what is below the roots of PutTree
	notes []string
	ended bool

	base      base
	inherited inherited
	// segmentsTrusted counts the inherited segments with data that the commit
	// did not walk.
	segmentsTrusted int

	claims    claims
	present   present
	structure packer    // of structure chunks, shared by all lanes
	streams   [2]packer // of stream chunks: see Session.streamPacker
	// directories is of directory nodes, which so lie together: going through a
	// large tree is reading in a row.
	directories packer
	lanes       []*Lane

	ctx     context.Context // ends when the session has failed
	writers *errgroup.Group
	runs    runs

	chunksTotal, chunksNew, bytesTotal, bytesNew, bytesStored, bytesAdded, packsVerified atomic.Int64
}

// packWriters is how many packs are made durable, and read back, at a time.
const packWriters = 2

// NewSession opens a session. ErrSourceTaken, ErrSourceBusy and ErrNewerFormat,
// of any object that matters to it, a snapshot of another source included, are
// told apart.
func (r *Repo) NewSession(ctx context.Context, o SessionOptions) (*Session, error) {
	if err := format.CheckFeatures("writing", r.config.Write); err != nil {
		return nil, err
	}
	if err := format.CheckTags(slices.Compact(slices.Sorted(slices.Values(o.Tags)))); err != nil {
		return nil, err
	}
	if err := r.clearDead(ctx); err != nil {
		return nil, err
	}
	if err := r.refresh(ctx); err != nil {
		return nil, err
	}
	if err := r.rewriteLostIndex(ctx); err != nil {
		return nil, err
	}
	all, err := r.takeCensus(ctx)
	if err != nil {
		return nil, err
	}
	if newer := firstNewer(errors.Join(all.errs...)); newer != nil {
		return nil, newer
	}
	if len(all.errs) > 0 {
		r.warn(errors.Join(all.errs...).Error())
	}
	for previous := latest(all.kept, o.Source); ; {
		s := &Session{repo: r, id: newSnapshotID(), options: o, previous: previous, started: wallClock()}
		if err := s.checkMachine(); err != nil {
			return nil, err
		}
		if o.GoOn && o.Base == nil {
			s.options.Base = previous
		}
		if err := s.open(ctx); err != nil {
			return nil, err
		}
		// From now on nobody else commits a snapshot of the source. One that
		// was committed while the lease was being opened comes before ours.
		all, err = r.takeCensus(ctx)
		if err == nil {
			err = all.refusal()
		}
		if err != nil {
			return nil, errors.Join(err, s.lease.Release(context.WithoutCancel(ctx)))
		}
		now := latest(all.kept, o.Source)
		if now == previous || (now != nil && previous != nil && now.ID == previous.ID) {
			s.seq = all.nextSeq(o.Source)
			return s, nil
		}
		previous = now
		if err := s.lease.Release(ctx); err != nil {
			return nil, err
		}
	}
}

// checkMachine refuses a source name that belongs to another machine.
func (s *Session) checkMachine() error {
	p := s.previous
	if p == nil || p.Info.Machine == s.options.Machine || s.options.Adopt {
		return nil
	}
	return fmt.Errorf("%w: %s was last backed up from %q, this is %q; choose another name with --name, or go on with --adopt",
		ErrSourceTaken, s.options.Source, p.Info.Machine, s.options.Machine)
}

// open takes the lease, and only then the head that chunks are deduplicated
// against: what a collector condemns later waits for the lease.
func (s *Session) open(ctx context.Context) error {
	l := format.Lease{Kind: format.WriteLease, Purpose: "ingest " + s.options.Source}
	h, err := s.repo.currentHead(ctx)
	if err == nil {
		err = format.CheckFeatures("writing", h.Write)
	}
	if err != nil {
		return err
	}
	l.Epoch, s.epoch = h.Epoch, h.Epoch
	if l.Snapshots, err = s.relied(); err != nil {
		return err
	}
	if s.lease, err = s.repo.openLease(ctx, s.id, l); err != nil {
		return err
	}
	if err = s.repo.checkAlone(ctx, s.id.String(), l.Purpose); err == nil {
		err = s.repo.refresh(ctx)
	}
	if err == nil {
		err = s.startWriting(ctx)
	}
	if err != nil {
		return errors.Join(err, s.lease.Release(context.WithoutCancel(ctx)))
	}
	s.readBase(ctx)
	return nil
}

// startWriting makes ready what packs are written with.
func (s *Session) startWriting(ctx context.Context) (err error) {
	s.secret = seal.NewSessionSecret()
	if s.sealed, err = s.repo.secrets.SealSecret(s.id, s.secret); err != nil {
		return err
	}
	s.renewWriters(ctx)
	s.structure = packer{session: s, kind: format.StructurePack}
	s.directories = packer{session: s, kind: format.DataPack}
	for i := range s.streams {
		s.streams[i] = packer{session: s, kind: format.DataPack}
	}
	s.runs.last = time.Now()
	return nil
}

// renewWriters lets a session write once more after its flush.
func (s *Session) renewWriters(ctx context.Context) {
	s.writers, s.ctx = errgroup.WithContext(ctx)
	s.writers.SetLimit(packWriters)
}

// relied are the snapshots that the lease names: whoever collects keeps what
// they need, forgotten or not, while the session goes on.
func (s *Session) relied() (ids []format.SnapshotID, err error) {
	for _, p := range []*Snapshot{s.previous, s.options.Base} {
		if p == nil {
			continue
		}
		id, err := format.ParseSnapshotID(p.ID)
		if err != nil {
			return nil, fmt.Errorf("snapshot %q: %w", p.ID, err)
		}
		if !slices.Contains(ids, id) {
			ids = append(ids, id)
		}
	}
	return ids, nil
}

// ID is the ID that the snapshot will have.
func (s *Session) ID() string { return s.id.String() }

// Previous is the newest snapshot of the same source, or nil.
func (s *Session) Previous() *Snapshot { return s.previous }

// Repo is the repository that the session writes to.
func (s *Session) Repo() *Repo { return s.repo }

// Stats returns what has been counted so far.
func (s *Session) Stats() Stats {
	return Stats{s.chunksTotal.Load(), s.chunksNew.Load(), s.bytesTotal.Load(),
		s.bytesNew.Load(), s.bytesStored.Load(), s.bytesAdded.Load()}
}

// Note adds a line to what the snapshot tells of how it came to be.
func (s *Session) Note(line string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.notes = append(s.notes, line)
}

// AddItem makes an item part of the snapshot. Names are unique in a snapshot.
func (s *Session) AddItem(it Item) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, have := range s.items {
		if have.Name == it.Name {
			return fmt.Errorf("item %s: there are two of that name", it.Name)
		}
	}
	s.items = append(s.items, it)
	return nil
}

// Abort gives the session up. Packs that are durable stay, listed by the runs
// published so far, so that the next attempt finds their chunks. No lane is at
// work any more. After Commit it does nothing.
func (s *Session) Abort(ctx context.Context) error {
	if !s.end() {
		return nil
	}
	ctx = context.WithoutCancel(ctx)
	err := s.writers.Wait()
	s.discardOpen()
	if !errors.Is(err, ErrLeaseBroken) {
		s.salvage(ctx)
	}
	return s.lease.Release(ctx)
}

// end marks the session as over, once.
func (s *Session) end() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	was := s.ended
	s.ended = true
	return !was
}

// streamPacker picks one of two open packs at random. The lengths of the
// chunks of a known file in a row would identify it even under secret cutting;
// spread over two packs they do not stand in a row.
func (s *Session) streamPacker() *packer { return &s.streams[rand.IntN(len(s.streams))] }
