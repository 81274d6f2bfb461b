package repo

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"
	"vaultfs/repo/format"
	"vaultfs/repo/index"
	"vaultfs/repo/store"
)

// verifyWorkers bounds how many packs are in memory at a time.
const verifyWorkers = 4

// readTurn reads the packs whose turn it is wholly, and then finds out what is
// lost of those that are damaged.
func (v *verifier) readTurn(ctx context.Context) error {
	t := v.newTurn()
	v.recorder = newRecorder(v)
	err := v.readPacks(ctx, t)
	if err == nil {
		err = v.examine(ctx)
	}
	if err != nil {
		// What was read was read, whatever ended it.
		v.recorder.flush(context.WithoutCancel(ctx))
		return err
	}
	v.result.Turn = t.sum(v)
	return nil
}

// readPacks reads packs in the order of the turn, until as much is read as is
// wanted.
func (v *verifier) readPacks(ctx context.Context, t *turn) error {
	begin := time.Now()
	var done int64
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(min(runtime.GOMAXPROCS(0), verifyWorkers))
	for i, p := range t.packs {
		if i > 0 && v.options.For > 0 && time.Since(begin) >= v.options.For || gctx.Err() != nil {
			break
		}
		g.Go(func() error {
			read, err := v.readPack(gctx, p.hash)
			if err != nil || !read {
				return err
			}
			v.recorder.tick(ctx)
			v.mu.Lock()
			defer v.mu.Unlock()
			done += p.size
			v.result.Packs++
			v.result.Bytes += p.size
			if v.options.Progress != nil {
				v.options.Progress(done, t.wanted)
			}
			return nil
		})
	}
	if err := g.Wait(); err != nil {
		return err
	}
	return ctx.Err()
}

// readPack proves a pack. It is not read if a collector has removed it
// meanwhile.
func (v *verifier) readPack(ctx context.Context, hash format.PackHash) (read bool, err error) {
	b, ok, err := v.readWhole(ctx, hash)
	if err != nil || !ok {
		return false, err
	}
	entries, damaged := v.repo.checkPack(hash, b)
	if damaged == nil {
		if damaged = v.compareEntries(hash, entries); damaged != nil {
			if gone, err := v.removed(ctx, hash); err != nil || gone {
				return false, err
			}
			damaged = v.compareEntries(hash, entries)
		}
	}
	if damaged != nil {
		v.finding(packLabel(hash), damaged)
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	v.result.Chunks += int64(len(entries))
	v.packs.mark(hash, packRead)
	if damaged == nil {
		v.packs.mark(hash, packGood)
	} else {
		v.suspects = append(v.suspects, hash)
	}
	v.recorder.pack(hash, damaged == nil)
	return true, nil
}

// readWhole reads a pack. One that cannot be read is a finding, unless a
// collector has removed it meanwhile; ok is false of both.
func (v *verifier) readWhole(ctx context.Context, hash format.PackHash) (b []byte, ok bool, err error) {
	v.mu.Lock()
	i, listed := v.packs.Find(hash)
	var object string
	if listed {
		object = packObject(v.packs.Owner(i), hash)
	}
	v.mu.Unlock()
	if !listed {
		return nil, false, nil
	}
	b, err = v.repo.store.GetCold(ctx, object, format.MaxPackSize, nil)
	if errors.Is(err, store.ErrNotFound) {
		gone, err := v.removed(ctx, hash)
		if err != nil || gone {
			return nil, false, err
		}
	}
	return b, err == nil, v.found(damage(packLabel(hash), err))
}

// compareEntries checks that the index says of a pack what its footer says.
func (v *verifier) compareEntries(hash format.PackHash, entries []format.PackEntry) error {
	for i, e := range entries {
		if !slices.ContainsFunc(v.repo.index.Lookup(e.ID), func(l index.Location) bool {
			return l.Pack.Hash == hash && l.Chunk == e && l.Ordinal == uint32(i)
		}) {
			return fmt.Errorf("%w: the index does not list its chunk %v; `vaultfs repair index` makes a new one", ErrDamaged, e.ID)
		}
	}
	return nil
}
