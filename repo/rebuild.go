package repo

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"vaultfs/repo/format"
	"vaultfs/repo/store"
)

// indexFromPacks makes the local index from the footers of all packs.
func (r *Repo) indexFromPacks(ctx context.Context) error {
	r.index.Clear()
	return r.eachFooterRun(ctx, r.leftOut, func(run *format.Run) error { return r.index.Add(pseudoRun(), run) })
}

// pseudoRun names a run that only the local index holds.
func pseudoRun() format.RunName { return format.RunName{Run: format.RunID(newSnapshotID())} }

// leftOut warns of a pack whose footer cannot be read.
func (r *Repo) leftOut(err error) error {
	r.warn(fmt.Sprintf("%v; the pack is left out of the index", err))
	return nil
}

// eachFooterRun gives runs that together list what the footers of all packs
// say. Packs whose footer cannot be read are told to bad.
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
		if len(run.Entries)+len(pack.Entries) > format.MaxRunEntries {
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
	return r.RebuildIndex(ctx)
}

// RebuildIndex writes runs and a head that say what the footers of all packs
// say, in the place of those that are there. It is refused with ErrInUse while
// anybody else is at work.
func (r *Repo) RebuildIndex(ctx context.Context) error {
	if err := r.clearDead(ctx); err != nil {
		return err
	}
	id := newSnapshotID()
	lease, err := r.openLease(ctx, id, format.Lease{Kind: format.GCLease, Purpose: "repair index"})
	if err != nil {
		return err
	}
	defer lease.Release(context.WithoutCancel(ctx))
	if err := r.onlyLease(ctx, id.String()); err != nil {
		return err
	}
	seqs, err := r.headSeqs(ctx)
	if err != nil {
		return err
	}
	h := r.nextHead(ctx, seqs)
	err = r.eachFooterRun(ctx, r.leftOut, func(run *format.Run) error {
		name, err := r.putRun(ctx, id, run)
		editRuns([]format.RunName{name}, nil)(h)
		return err
	})
	if err != nil {
		return err
	}
	name := headObject(h.Seq)
	if err := r.store.Put(ctx, name, h.Encode(newSalt(), r.headKey, name)); err != nil {
		return fmt.Errorf("publishing the index: %w", err)
	}
	if err := r.dropReplaced(ctx, h, seqs); err != nil {
		return err
	}
	r.syncing.Lock()
	r.rebuilt, r.head = false, nil
	r.syncing.Unlock()
	return r.refresh(ctx)
}

// onlyLease refuses when there is a lease but that one.
func (r *Repo) onlyLease(ctx context.Context, own string) error {
	sessions, err := r.Sessions(ctx)
	if err != nil {
		return err
	}
	for _, s := range sessions {
		if s.ID != own && s.Alive {
			return fmt.Errorf("%w: %s by process %d on %s since %s", ErrInUse, s.Purpose, s.PID, s.Host, s.Since.Format("15:04:05"))
		}
	}
	return nil
}

// nextHead is an empty head behind all that exist. What an old one that can be
// read says of condemned packs is taken over.
func (r *Repo) nextHead(ctx context.Context, seqs []uint64) *format.Head {
	h := &format.Head{Seq: 1, Epoch: 1}
	for _, seq := range seqs {
		h.Seq = seq + 1
		if old, err := r.readHead(ctx, seq); err == nil {
			h.Epoch, h.Condemned = old.Epoch+1, old.Condemned
		}
	}
	return h
}

// dropReplaced deletes the heads and runs that a new head took the place of.
func (r *Repo) dropReplaced(ctx context.Context, h *format.Head, seqs []uint64) error {
	var old []string
	for _, seq := range seqs {
		old = append(old, headObject(seq))
	}
	keep := map[string]bool{}
	for _, n := range h.Runs {
		keep[n.Object()] = true
	}
	err := r.store.List(ctx, "runs", func(i store.Info) error {
		if !keep[i.Name] {
			old = append(old, i.Name)
		}
		return nil
	})
	if err != nil {
		return err
	}
	for _, name := range old {
		if err := r.store.Delete(ctx, name); err != nil && !errors.Is(err, store.ErrNotFound) {
			return err
		}
	}
	return nil
}
