package repo

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/zeebo/blake3"
	"vaultfs/repo/format"
	"vaultfs/repo/store"
)

// indexFromPacks makes the local index from the footers of all packs.
func (r *Repo) indexFromPacks(ctx context.Context) error {
	old, err := r.indexObjects(ctx)
	if err != nil {
		return err
	}
	r.index.Clear()
	return r.eachPackRun(ctx, old, func(run *format.Run) error { return r.index.Add(pseudoRun(), run) })
}

// eachPackRun gives runs that together list all packs: what their footers say,
// or where a footer is damaged, what one of the old runs says.
func (r *Repo) eachPackRun(ctx context.Context, old []string, emit func(*format.Run) error) error {
	listed := map[format.PackHash]bool{}
	note := func(run *format.Run) error {
		for _, p := range run.Packs {
			listed[p.Hash] = true
		}
		return emit(run)
	}
	var bad []error
	err := r.eachFooterRun(ctx, func(err error) error { bad = append(bad, err); return nil }, note)
	if err != nil || len(bad) == 0 {
		return err
	}
	for _, name := range old {
		n, err := parseRunName(name)
		if err != nil {
			continue // a head
		}
		run, err := r.loadRun(ctx, n)
		if isDamage(err) {
			continue
		}
		if err != nil {
			return err
		}
		if run = run.Only(func(p format.RunPack) bool { return !listed[p.Hash] && r.isThere(ctx, run, p) }); len(run.Packs) == 0 {
			continue
		}
		if err := note(run); err != nil {
			return err
		}
	}
	for _, err := range bad {
		r.warn(fmt.Sprintf("%v; the index says of it what an old run says, or nothing", err))
	}
	return nil
}

// isThere tells whether a pack that a run lists is in the store.
func (r *Repo) isThere(ctx context.Context, run *format.Run, p format.RunPack) bool {
	_, err := r.store.Size(ctx, packObject(run.Sessions[p.Session].ID, p.Hash))
	return err == nil
}

// indexObjects lists heads and runs.
func (r *Repo) indexObjects(ctx context.Context) (names []string, err error) {
	for _, dir := range []string{"head", "runs"} {
		if err := r.store.List(ctx, dir, func(i store.Info) error { names = append(names, i.Name); return nil }); err != nil {
			return nil, err
		}
	}
	return names, nil
}

// parseRunName reads what RunName.Object writes.
func parseRunName(object string) (n format.RunName, err error) {
	parts := strings.Split(object, "/")
	if len(parts) != 3 || parts[0] != "runs" {
		return n, fmt.Errorf("%s is not the name of a run", object)
	}
	run, err := format.ParseSnapshotID(parts[2])
	if err != nil {
		return n, err
	}
	n.Session, err = format.ParseSnapshotID(parts[1])
	n.Run = format.RunID(run)
	return n, err
}

// pseudoRun names a run that only the local index holds.
func pseudoRun() format.RunName { return format.RunName{Run: format.RunID(newSnapshotID())} }

// eachFooterRun gives runs that together list what the footers of all packs
// say. Packs whose footer cannot be read are told to bad. Memory is that of one
// run, however many packs there are.
func (r *Repo) eachFooterRun(ctx context.Context, bad func(error) error, emit func(*format.Run) error) error {
	run := new(format.Run)
	session := map[format.SnapshotID]uint32{}
	flush := func() error {
		if len(run.Packs) == 0 {
			return nil
		}
		slices.SortFunc(run.Entries, format.RunEntry.Compare)
		err := emit(run)
		run, session = new(format.Run), map[format.SnapshotID]uint32{}
		return err
	}
	err := r.store.List(ctx, "packs", func(i store.Info) error {
		pack, hash, err := r.readFooter(ctx, i)
		if errors.Is(err, store.ErrNotFound) {
			return nil
		}
		if errors.Is(err, ErrDamaged) {
			return bad(err)
		}
		if err != nil {
			return err
		}
		if len(run.Packs) > 0 && len(run.Entries)+len(pack.Entries) > runEntries || len(run.Sessions) == format.MaxRunSessions {
			if err := flush(); err != nil {
				return err
			}
		}
		at, ok := session[pack.Header.Session]
		if !ok {
			at = uint32(len(run.Sessions))
			session[pack.Header.Session] = at
			run.Sessions = append(run.Sessions, format.RunSession{ID: pack.Header.Session})
		}
		if pack.SealedSecret != nil {
			run.Sessions[at].SealedSecret = pack.SealedSecret
		}
		for ordinal, e := range pack.Entries {
			run.Entries = append(run.Entries, format.RunEntry{PackEntry: e, Pack: uint32(len(run.Packs)), Ordinal: uint32(ordinal)})
		}
		run.Packs = append(run.Packs, format.RunPack{Hash: hash, Salt: pack.Header.Salt, Session: at, Kind: pack.Header.Kind, Size: uint32(i.Size)})
		return nil
	})
	if err != nil {
		return err
	}
	return flush()
}

// readFooter reads header and footer of a pack.
func (r *Repo) readFooter(ctx context.Context, i store.Info) (p *format.Pack, hash format.PackHash, err error) {
	parts := strings.Split(i.Name, "/")
	if hash, err = format.ParsePackHash(parts[len(parts)-1]); err != nil {
		return nil, hash, &DamageError{i.Name, err}
	}
	fail := func(err error) (*format.Pack, format.PackHash, error) {
		if errors.Is(err, store.ErrNotFound) {
			return nil, hash, err
		}
		return nil, hash, damage(packLabel(hash), err)
	}
	if i.Size < format.PackHeaderSize+format.PackTailSize || i.Size > format.MaxPackSize {
		return fail(fmt.Errorf("%w: %d bytes", ErrDamaged, i.Size))
	}
	head, tail := make([]byte, format.PackHeaderSize), make([]byte, format.PackTailSize)
	if _, err := r.store.ReadAt(ctx, i.Name, head, 0); err != nil {
		return fail(err)
	}
	h, err := format.DecodePackHeader(head)
	if errors.Is(err, format.ErrNewer) && !r.unaltered(ctx, i.Name, hash) {
		err = fmt.Errorf("%w: its version is not the one that was written", ErrDamaged)
	}
	if err != nil {
		return fail(err)
	}
	if _, err := r.store.ReadAt(ctx, i.Name, tail, i.Size-int64(len(tail))); err != nil {
		return fail(err)
	}
	n, err := format.PackRegion(h, i.Size, tail)
	if err != nil {
		return fail(err)
	}
	region := make([]byte, n)
	if _, err := r.store.ReadAt(ctx, i.Name, region, i.Size-n); err != nil {
		return fail(err)
	}
	if p, err = format.DecodePackFooter(h, i.Size, region, r.packBox); err != nil {
		return fail(err)
	}
	if p.Header.Session.String() != parts[len(parts)-2] {
		return fail(fmt.Errorf("%w: it lies with another session", ErrDamaged))
	}
	return p, hash, nil
}

// unaltered tells whether a pack's bytes have its name's hash.
func (r *Repo) unaltered(ctx context.Context, name string, hash format.PackHash) bool {
	b, err := r.store.Get(ctx, name, format.MaxPackSize)
	return err == nil && blake3.Sum256(b) == hash
}

// rewriteLostIndex repairs the repository's index before a session writes, if
// it cannot be used.
func (r *Repo) rewriteLostIndex(ctx context.Context) error {
	r.syncing.Lock()
	lost := r.rebuilt
	r.syncing.Unlock()
	if !lost {
		return nil
	}
	r.warn("writing a new index before anything is added")
	if err := r.RebuildIndex(ctx); err != nil {
		return err
	}
	r.syncing.Lock()
	defer r.syncing.Unlock()
	if r.rebuilt {
		return &DamageError{"index", errors.New("the one just made cannot be used either")}
	}
	return nil
}

// RebuildIndex writes runs and a head that say what the footers of all packs
// say, in the place of those that are there. It is refused with ErrInUse while
// anybody else writes or collects, and with ErrNewerFormat if a newer version
// wrote anything that is met. Snapshots and marks of forgotten ones are not
// touched, and a pack that was condemned or known to be damaged stays so; one
// that a collector had taken out of the index and not yet deleted is condemned
// in the new one, for the next collector to remove.
func (r *Repo) RebuildIndex(ctx context.Context) error { return r.RebuildIndexTelling(ctx, nil) }

// RebuildIndexTelling is RebuildIndex, and tells how many of how many packs it
// has looked at.
func (r *Repo) RebuildIndexTelling(ctx context.Context, progress func(done, total int64)) error {
	_, err := r.Snapshots(ctx)
	if newer := firstNewer(err); newer != nil {
		return newer // the others are of no account here
	}
	if err := r.clearDead(ctx); err != nil {
		return err
	}
	id := newSnapshotID()
	lease, err := r.openLease(ctx, id, format.Lease{Kind: format.GCLease, Purpose: purposeRepair})
	if err != nil {
		return err
	}
	defer lease.Release(context.WithoutCancel(ctx))
	if err := r.rebuildUnder(ctx, id, lease, progress); err != nil {
		return err
	}
	r.syncing.Lock()
	r.rebuilt, r.head = false, nil
	r.syncing.Unlock()
	return r.refresh(ctx)
}

// rebuildUnder makes the index anew under a lease of that ID.
func (r *Repo) rebuildUnder(ctx context.Context, id format.SnapshotID, lease *store.Lease, progress func(done, total int64)) error {
	// First what is to be replaced, then the leases: a run that is stored after
	// this list belongs to a session that may go on beside us.
	old, err := r.indexObjects(ctx)
	if err != nil {
		return err
	}
	if err := r.onlyLease(ctx, id.String()); err != nil {
		return err
	}
	seqs, err := r.headSeqs(ctx)
	if err != nil {
		return err
	}
	h, err := r.nextHead(ctx, seqs)
	if err != nil {
		return err
	}
	tell, err := r.packMeter(ctx, progress)
	if err != nil {
		return err
	}
	listed := map[format.PackHash]bool{}
	err = r.eachPackRun(ctx, old, func(run *format.Run) error {
		for _, p := range run.Packs {
			listed[p.Hash] = true
		}
		name, err := r.putRun(ctx, id, run)
		editRuns([]format.RunName{name}, nil)(h)
		tell(len(run.Packs))
		return err
	})
	if err != nil {
		return err
	}
	h.Condemned = slices.DeleteFunc(h.Condemned, func(c format.CondemnedPack) bool { return !listed[c.Pack] })
	h.Damaged = slices.DeleteFunc(h.Damaged, func(p format.PackHash) bool { return !listed[p] })
	// It may have taken long, and somebody may have ended our session.
	if err := lease.Held(ctx); err != nil {
		return err
	}
	if err := r.putHead(ctx, h); err != nil {
		return fmt.Errorf("publishing the index: %w", err)
	}
	return r.deleteAll(ctx, old)
}

// packMeter returns what is told of packs that were looked at, for progress.
func (r *Repo) packMeter(ctx context.Context, progress func(done, total int64)) (tell func(packs int), err error) {
	if progress == nil {
		return func(int) {}, nil
	}
	var done, total int64
	err = r.store.List(ctx, "packs", func(store.Info) error { total++; return nil })
	return func(packs int) {
		done += int64(packs)
		progress(done, max(done, total))
	}, err
}

// onlyLease refuses when there is a lease but that one. Readers do not mind: they
// use packs, and take up the new index when they need it.
func (r *Repo) onlyLease(ctx context.Context, own string) error {
	sessions, err := r.Sessions(ctx)
	if err != nil {
		return err
	}
	for _, s := range sessions {
		if s.ID != own && s.Alive && s.Kind != "read" {
			return fmt.Errorf("%w: %s by process %d on %s since %s", ErrInUse, s.Purpose, s.PID, s.Host, s.Since.Format("15:04:05"))
		}
	}
	return nil
}

// nextHead is an empty head behind all that exist. What the newest that can be
// read says of condemned and damaged packs is taken over, and what it calls removed
// is condemned: nobody may come to rely on a file that a collector, stopped for
// long and its lease broken, still deletes. Its epoch is above that of every
// other and of every lease, so that whoever began before is told from whoever
// begins now.
func (r *Repo) nextHead(ctx context.Context, seqs []uint64) (*format.Head, error) {
	h := &format.Head{Seq: 1, Epoch: 1}
	var removed []format.PackHash
	for _, seq := range seqs {
		h.Seq = seq + 1
		old, err := r.readHead(ctx, seq)
		if errors.Is(err, format.ErrNewer) {
			return nil, err // what a newer program made is not replaced
		}
		if err == nil {
			h.Epoch, h.Condemned, h.Damaged = max(h.Epoch, old.Epoch+1), old.Condemned, old.Damaged
			h.Read, h.Write, h.GC = old.Read, old.Write, old.GC
			removed = old.Removed
		}
	}
	err := r.raiseEpoch(ctx, h)
	if editCondemned(removed, nil)(h) {
		h.Epoch++
	}
	return h, err
}

// raiseEpoch raises a head's epoch above those that leases state: where all
// heads are lost, readers still tell of one.
func (r *Repo) raiseEpoch(ctx context.Context, h *format.Head) error {
	leases, err := r.store.Leases(ctx)
	for _, l := range leases {
		id, err := format.ParseSnapshotID(l.Name)
		if err != nil {
			continue
		}
		if lease, err := format.DecodeLease(r.leaseKey(id), "sessions/"+l.Name, l.Content); err == nil {
			h.Epoch = max(h.Epoch, lease.Epoch+1)
		}
	}
	return err
}

// deleteAll deletes objects that may be gone already.
func (r *Repo) deleteAll(ctx context.Context, names []string) error {
	for _, name := range names {
		if err := r.store.Delete(ctx, name); err != nil && !errors.Is(err, store.ErrNotFound) {
			return err
		}
	}
	return nil
}
