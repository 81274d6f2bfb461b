package repo

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
	"vaultfs/chunk"
	"vaultfs/repo/format"
	"vaultfs/repo/index"
	"vaultfs/repo/seal"
	"vaultfs/repo/store"
)

// copyGroup is how many bytes are copied before what was copied is listed
// to the last chunk, so that the old packs can go whatever happens later. Tests
// lower it.
var copyGroup int64 = 1 << 30

// copyWorkers is how many packs are in memory at a time, beside those that are
// being written.
const copyWorkers = 2

// A copier copies what is needed of packs.
type copier struct {
	*collector
	mu     sync.Mutex // held while the chunks of a pack are given to the session
	done   int64      // bytes, of all that was copied
	copied []int      // packs of which all that is needed is copied
	left   int        // packs for which there was no time
}

// copyPacks copies what is needed of packs, as many as there is room for, and
// takes them from the list. It returns those of which everything was copied and is
// listed. Running out of room or of time ends it, and is no error.
func (c *collector) copyPacks(ctx context.Context, rest *[]int) (done []int, err error) {
	cp := &copier{collector: c, done: c.copied}
	defer func() { c.copied = cp.done }()
	for len(*rest) > 0 {
		if c.late() {
			c.result.Unfinished = fmt.Sprintf("the time was used up; %d packs are left to be rewritten", len(*rest))
			return done, nil
		}
		n := c.group(*rest, c.room(ctx))
		if n == 0 && len(done) > 0 {
			return done, nil // these make room for more
		}
		n = max(n, 1)
		cp.copied = nil
		err := cp.copyGroup(ctx, (*rest)[:n])
		if errors.Is(err, ErrNoSpace) {
			c.discard(ctx)
			c.result.Unfinished = fmt.Sprintf("there was no room for more copies (%v); %d packs are left to be rewritten", err, len(*rest))
			return done, nil
		}
		if err != nil {
			return nil, err
		}
		done, *rest = append(done, cp.copied...), (*rest)[n:]
		if cp.left > 0 {
			c.result.Unfinished = fmt.Sprintf("the time was used up; %d packs are left to be rewritten", cp.left+len(*rest))
			return done, nil
		}
	}
	return done, nil
}

// endCopying puts the runs of the copies together, once all is copied, and counts
// what was written.
func (c *collector) endCopying(ctx context.Context) (err error) {
	if c.result.Unfinished == "" {
		err = c.session.mergeOwn(ctx)
	}
	if errors.Is(err, ErrNoSpace) {
		err = nil // the runs stay as they are
	}
	c.result.Written = c.session.bytesStored.Load()
	for _, r := range c.session.runs.own {
		c.result.Written += c.sizeOf(ctx, r.name.Object())
	}
	if err == nil {
		c.recordCopies(ctx)
	}
	return err
}

// recordCopies tells the ledger that the new packs were read back.
func (c *collector) recordCopies(ctx context.Context) {
	var packs []format.PackHash
	for _, r := range c.session.runs.own {
		run, err := c.repo.loadRun(ctx, r.name)
		if err != nil {
			c.repo.warn(err.Error())
			continue
		}
		for _, p := range run.Packs {
			packs = append(packs, p.Hash)
		}
	}
	if err := c.repo.recordRead(ctx, packs); err != nil {
		c.repo.warn(err.Error())
	}
}

// sizeOf is the size of an object, 0 if it cannot be told.
func (c *collector) sizeOf(ctx context.Context, object string) int64 {
	size, err := c.repo.store.Size(ctx, object)
	if err != nil {
		return 0
	}
	return size
}

// late tells whether no more copying is to begin.
func (c *collector) late() bool {
	return c.options.For > 0 && time.Since(c.begun) >= c.options.For
}

// group is how many of the packs are copied before they are listed: as many as
// there is room for.
func (c *collector) group(packs []int, room int64) int {
	room -= 3 * packCost // one of each sort
	var bytes int64
	for i, p := range packs {
		bytes += c.plan.packs[p].takes()
		if bytes+bytes/int64(packTarget)*packCost > room {
			return i
		}
		if bytes >= copyGroup {
			return i + 1
		}
	}
	return len(packs)
}

// copyGroup copies packs and lists what it copied.
func (c *copier) copyGroup(ctx context.Context, packs []int) error {
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(workers(copyWorkers))
	for at, i := range packs {
		if gctx.Err() != nil {
			break
		}
		if c.late() {
			c.left = len(packs) - at
			break
		}
		g.Go(func() error { return c.copyPack(gctx, i) })
	}
	err := g.Wait()
	if err == nil {
		err = c.session.flush(ctx)
	}
	if err != nil {
		return c.session.failure(err)
	}
	c.session.renewWriters(ctx)
	return nil
}

// copyPack copies what is needed of a pack, once all of that is proved. A pack in
// which something is damaged stays as it is.
func (c *copier) copyPack(ctx context.Context, pack int) error {
	list := c.plan.view.Packs()
	hash := list.List[pack].Hash
	b, err := c.repo.store.GetCold(ctx, packObject(list.Owner(pack), hash), format.MaxPackSize, nil)
	gone := errors.Is(err, store.ErrNotFound) // which the next survey sees
	var chunks []format.PackEntry
	if err == nil {
		chunks, err = c.provePack(pack, b)
	}
	if err = damage(packLabel(hash), err); isDamage(err) {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.repo.warn(fmt.Sprintf("%v; the pack stays as it is. `vaultfs verify --read-data` tells what is lost with it", err))
		if !gone {
			c.damaged = append(c.damaged, hash)
		}
		return nil
	}
	if err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, e := range chunks {
		if err := c.session.copyChunk(e.Kind, e.ID, int(e.Plain), b[e.Offset:e.Offset+e.Sealed-seal.Overhead]); err != nil {
			return err
		}
		c.done += int64(e.Sealed)
	}
	c.copied = append(c.copied, pack)
	c.options.Progress(GCProgress{Phase: "copying", Done: c.done, Total: c.plan.CopyBytes})
	return nil
}

// provePack opens and hashes the chunks of a pack that stay, of which b are the
// bytes, and leaves their payloads where they are.
func (c *copier) provePack(pack int, b []byte) (chunks []format.PackEntry, err error) {
	p, err := format.DecodePack(b, c.repo.packBox)
	if err != nil {
		return nil, err
	}
	box, err := c.repo.packBox(p.Header, p.SealedSecret)
	if err != nil {
		return nil, err
	}
	keep, err := c.kept(pack, p.Entries)
	if err != nil {
		return nil, err
	}
	var plain []byte
	var used uint32
	for i, e := range p.Entries {
		if !keep[i] {
			continue
		}
		payload, err := format.UnsealChunk(box, uint64(i), e, b[e.Offset:e.Offset+e.Sealed])
		if err == nil {
			plain, err = format.OpenPayload(plain, payload, int(e.Plain))
		}
		if err == nil && c.repo.name(e.Kind, plain) != e.ID {
			err = fmt.Errorf("%w: its bytes do not have its ID", ErrDamaged)
		}
		if err != nil {
			return nil, fmt.Errorf("chunk %v: %w", e.ID, err)
		}
		chunks, used = append(chunks, e), used+e.Sealed
	}
	if want := c.plan.packs[pack].used; used != want {
		return nil, fmt.Errorf("%w: it does not hold what the index places in it", ErrDamaged)
	}
	return chunks, nil
}

// kept tells which chunks of a pack stay, by their places in it.
func (c *copier) kept(pack int, entries []format.PackEntry) ([]bool, error) {
	ids := make([]chunk.ID, len(entries))
	for i, e := range entries {
		ids[i] = e.ID
	}
	keep := make([]bool, len(entries))
	err := c.plan.view.Find(sorted(ids), func(_ int, e index.Entry) error {
		if e.Pack == pack && int(e.Ordinal) < len(entries) && entries[e.Ordinal] == e.PackEntry {
			keep[e.Ordinal] = c.plan.keep.Has(e.Number)
		}
		return nil
	})
	return keep, err
}

// discard removes what was copied and could not be listed. The old packs still
// hold all of it.
func (c *collector) discard(ctx context.Context) {
	_ = c.session.writers.Wait()
	c.session.discardOpen()
	for _, p := range c.session.runs.take() {
		if c.repo.store.Delete(ctx, packObject(c.session.id, p.hash)) == nil {
			c.session.bytesStored.Add(-int64(p.size))
		}
	}
}
