package repo

import (
	"context"
	"fmt"
	"runtime"
	"slices"
	"strings"

	"golang.org/x/sync/errgroup"
	"vaultfs/repo/format"
	"vaultfs/repo/index"
)

// verifyWorkers bounds how many packs are in memory at a time.
const verifyWorkers = 4

// readPacks reads every pack that matters wholly.
func (v *verifier) readPacks(ctx context.Context) error {
	var packs []format.PackHash
	var total, done int64
	for hash := range v.listed {
		if size, ok := v.present[hash]; ok && (v.options.Snapshots == nil || v.used[hash]) {
			packs, total = append(packs, hash), total+size
		}
	}
	slices.SortFunc(packs, func(a, b format.PackHash) int { return strings.Compare(string(a[:]), string(b[:])) })
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(min(runtime.GOMAXPROCS(0), verifyWorkers))
	for _, hash := range packs {
		g.Go(func() error {
			if err := v.readPack(ctx, hash); err != nil {
				return err
			}
			v.mu.Lock()
			defer v.mu.Unlock()
			done += v.present[hash]
			v.result.Packs++
			v.result.Bytes += v.present[hash]
			if v.options.Progress != nil {
				v.options.Progress(done, total)
			}
			return nil
		})
	}
	return g.Wait()
}

// readPack proves a pack. In a damaged one it finds out which chunks are lost.
func (v *verifier) readPack(ctx context.Context, hash format.PackHash) error {
	b, err := v.readWhole(ctx, hash)
	if b == nil {
		return err
	}
	entries, err := v.repo.checkPack(hash, b)
	if err == nil {
		err = v.compareEntries(hash, entries)
	}
	v.mu.Lock()
	v.result.Chunks += int64(len(entries))
	if err == nil {
		v.proved[hash] = true
	}
	v.mu.Unlock()
	if err == nil {
		return nil
	}
	v.finding(packLabel(hash), err)
	if b, err = v.readWhole(ctx, hash); b == nil { // checkPack has used the first up
		return err
	}
	return v.findBad(hash, b)
}

// readWhole reads a pack; one that cannot be read is a finding.
func (v *verifier) readWhole(ctx context.Context, hash format.PackHash) ([]byte, error) {
	b, err := v.repo.store.GetCold(ctx, packObject(v.sessions[hash], hash), format.MaxPackSize, nil)
	return b, v.found(damage(packLabel(hash), err))
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
