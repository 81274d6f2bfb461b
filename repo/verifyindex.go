package repo

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"vaultfs/repo/format"
	"vaultfs/repo/store"
)

// checkRoots looks at what opens the repository: config, slots and heads.
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
	if h == nil {
		if err := v.found(err); err != nil {
			return err
		}
		v.repo.frozen, v.indexLost = true, true
		if err := v.readFooters(ctx); err != nil {
			return err
		}
		return v.listPresent(ctx)
	}
	h, err = v.syncIndex(ctx, h)
	if h == nil {
		return err
	}
	v.repo.frozen = true // stay with this head
	for _, err := range split(err) {
		v.indexLost = true
		if err := v.found(err); err != nil {
			return err
		}
	}
	for _, p := range h.Removed {
		delete(v.listed, p)
	}
	for _, p := range h.Damaged {
		if _, ok := v.listed[p]; ok && !v.options.ReadData {
			v.finding(packLabel(p), errors.New("damage was found in it earlier; with --read-data it is said what is lost"))
		}
	}
	if err := v.listPresent(ctx); err != nil {
		return err
	}
	return v.comparePacks()
}

// syncIndex loads the runs of a head. While it does, a session may merge runs:
// then it begins again with the newer head.
func (v *verifier) syncIndex(ctx context.Context, h *format.Head) (*format.Head, error) {
	for {
		err := v.repo.index.Sync(h, func(n format.RunName) (*format.Run, error) {
			run, err := v.repo.loadRun(ctx, n)
			if err != nil {
				return nil, err
			}
			for _, p := range run.Packs {
				v.listed[p.Hash], v.sessions[p.Hash] = p, run.Sessions[p.Session].ID
			}
			return run, nil
		})
		if err == nil {
			return h, nil
		}
		now, headErr := v.repo.currentHead(ctx)
		if headErr != nil || now.Seq == h.Seq {
			return h, err
		}
		h = now
	}
}

// readFooters adds to the index what the packs themselves say. It is done once,
// when the index is found wanting.
func (v *verifier) readFooters(ctx context.Context) error {
	if v.footers {
		return nil
	}
	v.footers = true
	return v.repo.eachFooterRun(ctx, v.found, func(run *format.Run) error {
		return v.repo.index.Add(pseudoRun(), run)
	})
}

// listPresent lists the packs that are there.
func (v *verifier) listPresent(ctx context.Context) error {
	return v.repo.store.List(ctx, "packs", func(i store.Info) error {
		parts := strings.Split(i.Name, "/")
		hash, err := format.ParsePackHash(parts[len(parts)-1])
		if err != nil || len(parts) != 3 {
			v.finding(i.Name, errors.New("not the name of a pack"))
			return nil
		}
		if s, ok := v.sessions[hash]; ok && s.String() != parts[1] {
			v.finding(i.Name, fmt.Errorf("it belongs to session %v", s))
			return nil
		}
		v.present[hash] = i.Size
		if _, ok := v.listed[hash]; !ok {
			v.result.Unlisted++
		}
		return nil
	})
}

func (v *verifier) comparePacks() error {
	for hash, p := range v.listed {
		switch size, ok := v.present[hash]; {
		case !ok:
			v.finding(packLabel(hash), errors.New("missing"))
		case size != int64(p.Size):
			v.finding(packLabel(hash), fmt.Errorf("%d bytes, want %d", size, p.Size))
		default:
			if v.options.ReadData || v.options.Snapshots != nil {
				continue
			}
			v.result.Packs++
			v.result.Bytes += size
		}
	}
	return nil
}
