package repo

import (
	"context"
	"errors"

	"vaultfs/repo/format"
	"vaultfs/repo/store"
)

// checkRoots looks at what opens the repository: config, slots and heads; and at
// what is kept beside the snapshots: the policy and the ledger.
func (v *verifier) checkRoots(ctx context.Context) error {
	raw, err := v.repo.store.Get(ctx, configObject, format.MaxConfigSize)
	if err == nil {
		_, err = format.DecodeConfig(raw)
	}
	if err := v.found(damage("config", err)); err != nil {
		return err
	}
	_, bad, err := readSlots(ctx, v.repo.store)
	if err != nil {
		return err
	}
	_, err = v.repo.Keys(ctx)
	for _, err := range append(bad, split(err)...) {
		if err := v.found(err); err != nil {
			return err
		}
	}
	seqs, err := v.repo.headSeqs(ctx)
	if err != nil {
		return err
	}
	for _, seq := range seqs {
		if _, err := v.repo.readHead(ctx, seq); err != nil && !errors.Is(err, store.ErrNotFound) {
			if err := v.found(err); err != nil {
				return err
			}
		}
	}
	if _, _, err := v.repo.Policy(ctx); err != nil {
		if err := v.found(err); err != nil {
			return err
		}
	}
	v.ledger, err = v.repo.Ledger(ctx)
	for _, err := range split(err) {
		if err := v.found(err); err != nil {
			return err
		}
	}
	return nil
}

// split takes a joined error apart.
func split(err error) []error {
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		return joined.Unwrap()
	}
	if err == nil {
		return nil
	}
	return []error{err}
}

// checkIndex loads the repository's runs, and compares the packs that they
// list with those that are there.
func (v *verifier) checkIndex(ctx context.Context) error {
	h, err := v.repo.currentHead(ctx)
	if errors.Is(err, errNoHead) {
		err = &DamageError{"index", errors.New("there is no head; `vaultfs repair index` makes a new one")}
	}
	v.repo.frozen = true // only catchUp brings the index in step with another head
	if h == nil {
		if err := v.found(err); err != nil {
			return err
		}
		v.indexLost = true
		return v.readFooters(ctx)
	}
	if err := v.syncIndex(ctx, h); err != nil {
		return err
	}
	if err := v.takePacks(ctx); err != nil {
		return err
	}
	return v.comparePacks(ctx)
}

// syncIndex loads the runs of a head. While it does, a session may merge runs:
// then it begins again with the newer head. Runs that cannot be read are
// findings.
func (v *verifier) syncIndex(ctx context.Context, h *format.Head) error {
	for {
		err := v.repo.index.Sync(h, func(n format.RunName) (*format.Run, error) { return v.repo.loadRun(ctx, n) })
		v.head = h
		if err == nil {
			return nil
		}
		now, headErr := v.repo.currentHead(ctx)
		if headErr != nil || now.Seq == h.Seq {
			v.indexLost = true
			return v.foundAll(err)
		}
		h = now
	}
}

// foundAll is found of joined errors.
func (v *verifier) foundAll(err error) error {
	for _, err := range split(err) {
		if err := v.found(err); err != nil {
			return err
		}
	}
	return nil
}

// readFooters adds to the index what the packs themselves say. It is done once,
// when the index is found wanting.
func (v *verifier) readFooters(ctx context.Context) error {
	if v.footers {
		return nil
	}
	v.footers = true
	err := v.repo.eachFooterRun(ctx, v.found, func(run *format.Run) error {
		return v.repo.index.Add(pseudoRun(), run)
	})
	if err != nil {
		return err
	}
	return v.takePacks(ctx)
}
