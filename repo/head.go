package repo

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"vaultfs/repo/format"
	"vaultfs/repo/store"
)

// errNoHead says that the repository lost its index: init makes the first head.
var errNoHead = errors.New("no head")

func headObject(seq uint64) string { return numberedObject("head", seq) }

// headSeqs lists the heads that exist, lowest first.
func (r *Repo) headSeqs(ctx context.Context) ([]uint64, error) { return r.numbers(ctx, "head") }

// readHead reads one head.
func (r *Repo) readHead(ctx context.Context, seq uint64) (*format.Head, error) {
	name := headObject(seq)
	b, err := r.store.Get(ctx, name, format.MaxHeadSize)
	if errors.Is(err, store.ErrNotFound) {
		return nil, err
	} else if err != nil {
		return nil, damage(name, err)
	}
	h, err := format.DecodeHead(r.headKey, name, b)
	if err == nil && h.Seq != seq {
		err = fmt.Errorf("%w: it is head %d under another name", ErrDamaged, h.Seq)
	}
	return h, damage(name, err)
}

// currentHead reads the head in force.
func (r *Repo) currentHead(ctx context.Context) (*format.Head, error) {
	for {
		seqs, err := r.headSeqs(ctx)
		if err != nil {
			return nil, err
		}
		if len(seqs) == 0 {
			return nil, errNoHead
		}
		h, err := r.readHead(ctx, seqs[len(seqs)-1])
		if errors.Is(err, store.ErrNotFound) {
			continue // a newer one took its place meanwhile
		}
		return h, err
	}
}

// publish replaces the head by what edit makes of it, as often as others are
// faster. edit changes nothing on a head that it has already changed. A
// publish counts once the change is seen in the newest head.
func (r *Repo) publish(ctx context.Context, held func(context.Context) error, edit func(*format.Head) (changed bool)) (*format.Head, error) {
	for {
		h, err := r.currentHead(ctx)
		if err != nil {
			return nil, damage("index", err)
		}
		if err := held(ctx); err != nil {
			return nil, err
		}
		if !edit(h) {
			return h, r.dropOld(ctx, "head", h.Seq)
		}
		h.Seq++
		err = r.putHead(ctx, h)
		if err != nil && !errors.Is(err, store.ErrExists) {
			return nil, fmt.Errorf("publishing the index: %w", err)
		}
		// Whether it was made or not, the newest head decides.
	}
}

// putHead stores a head, unless there is one of its number. One that is too large
// would be read by nobody. On a full disk the old heads make room for it.
func (r *Repo) putHead(ctx context.Context, h *format.Head) error {
	name := headObject(h.Seq)
	b := h.Encode(newSalt(), r.headKey, name)
	if len(b) > format.MaxHeadSize {
		return fmt.Errorf("it has %d bytes, more than %d", len(b), format.MaxHeadSize)
	}
	err := r.store.Put(ctx, name, b)
	if errors.Is(err, store.ErrFull) && r.dropOld(ctx, "head", h.Seq) == nil {
		err = r.store.Put(ctx, name, b)
	}
	return err
}

// editRuns adds and removes runs; it is an edit for publish.
func editRuns(add, remove []format.RunName) func(*format.Head) bool {
	return func(h *format.Head) (changed bool) {
		for _, n := range add {
			if i, ok := slices.BinarySearchFunc(h.Runs, n, format.RunName.Compare); !ok {
				h.Runs, changed = slices.Insert(h.Runs, i, n), true
			}
		}
		for _, n := range remove {
			if i, ok := slices.BinarySearchFunc(h.Runs, n, format.RunName.Compare); ok {
				h.Runs, changed = slices.Delete(h.Runs, i, i+1), true
			}
		}
		return changed
	}
}

// refresh brings the index in step with the head in force. When head or runs
// cannot be read, the index is made from the footers of the packs instead,
// which takes longer and loses nothing.
func (r *Repo) refresh(ctx context.Context) error {
	r.syncing.Lock()
	defer r.syncing.Unlock()
	if r.frozen || (r.rebuilt && !r.index.Stale() && !r.repaired(ctx)) {
		return nil
	}
	r.rebuilt = false
	err := r.syncHead(ctx)
	if err == nil || ctx.Err() != nil || !isDamage(err) {
		return err
	}
	return r.rebuildLocally(ctx, err)
}

// fallBack makes the index from the footers of the packs because of what was
// not found in it, unless that was done already.
func (r *Repo) fallBack(ctx context.Context, why error) error {
	r.syncing.Lock()
	defer r.syncing.Unlock()
	if r.frozen || r.rebuilt {
		return nil
	}
	return r.rebuildLocally(ctx, why)
}

// rebuildLocally is called with the lock held.
func (r *Repo) rebuildLocally(ctx context.Context, why error) error {
	r.warn(fmt.Sprintf("the index in the repository cannot be used (%v); reading the footers of all packs instead. "+
		"`vaultfs repair index` writes a new one", why))
	r.lostSeq = r.newestSeq(ctx)
	if err := r.indexFromPacks(ctx); err != nil {
		return err
	}
	r.head, r.rebuilt = nil, true
	return nil
}

// repaired tells whether there is a newer head than the one that was of no use.
func (r *Repo) repaired(ctx context.Context) bool { return r.newestSeq(ctx) > r.lostSeq }

// newestSeq is the sequence number of the head in force, 0 if there is none.
func (r *Repo) newestSeq(ctx context.Context) uint64 {
	seqs, err := r.headSeqs(ctx)
	if err != nil || len(seqs) == 0 {
		return 0
	}
	return seqs[len(seqs)-1]
}

func isDamage(err error) bool { return errors.Is(err, ErrDamaged) || errors.Is(err, errNoHead) }

// syncHead loads the head and the runs that the local copy lacks. A run that
// vanishes meanwhile was merged into another, which a newer head names.
func (r *Repo) syncHead(ctx context.Context) error {
	for last := uint64(0); ; {
		h, err := r.currentHead(ctx)
		if err != nil {
			return err
		}
		if r.head != nil && r.head.Seq == h.Seq && !r.index.Stale() {
			return nil
		}
		if err := format.CheckFeatures("reading", h.Read); err != nil {
			return err
		}
		r.head = nil
		err = r.index.Sync(h, func(n format.RunName) (*format.Run, error) { return r.loadRun(ctx, n) })
		if err == nil {
			r.head = h
			return nil
		}
		if last == h.Seq {
			return err
		}
		last = h.Seq
	}
}

func (r *Repo) loadRun(ctx context.Context, n format.RunName) (*format.Run, error) {
	b, err := r.store.Get(ctx, n.Object(), format.MaxRunSize)
	if err != nil {
		return nil, damage("index run "+n.Object(), err)
	}
	run, err := format.DecodeRun(r.runKey(n.Session), n.Object(), b)
	return run, damage("index run "+n.Object(), err)
}
