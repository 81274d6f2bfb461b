package repo

import (
	"context"
	"errors"
	"fmt"

	"vaultfs/repo/format"
	"vaultfs/repo/index"
	"vaultfs/repo/store"
)

// A packTable is what verify knows of the packs that the index lists. There may
// be millions, so that it takes 53 bytes for each.
type packTable struct {
	*index.Packs
	size  []int32 // bytes, as it lies in the store; notThere if it does not
	state []verifyState
}

const notThere = -1

// verifyState is what is known of a pack.
type verifyState uint8

const (
	packUsed verifyState = 1 << iota // one of the snapshots needs it
	packRead                         // it was read in this run
	packGood                         // and is good
)

func newPackTable() *packTable { return &packTable{Packs: new(index.Packs)} }

// mark adds to what is known of a pack.
func (t *packTable) mark(hash format.PackHash, s verifyState) {
	if i, ok := t.Find(hash); ok {
		t.state[i] |= s
	}
}

// has tells whether all of that is known of a pack.
func (t *packTable) has(hash format.PackHash, s verifyState) bool {
	i, ok := t.Find(hash)
	return ok && t.state[i]&s == s
}

// takePacks lists the packs of the index, and which of them are there. What is
// known of a pack already stays known.
func (v *verifier) takePacks(ctx context.Context) error {
	listed, err := v.repo.index.Packs()
	if err != nil {
		return err
	}
	t := &packTable{listed, make([]int32, len(listed.List)), make([]verifyState, len(listed.List))}
	for i, p := range t.List {
		t.size[i] = notThere
		if old, ok := v.packs.Find(p.Hash); ok {
			t.state[i] = v.packs.state[old]
		}
	}
	unlisted := 0
	err = v.repo.store.List(ctx, "packs", func(o store.Info) error {
		session, hash, ok := parsePack(o.Name)
		if !ok {
			v.finding(o.Name, errors.New("not the name of a pack"))
			return nil
		}
		i, ok := t.Find(hash)
		switch {
		case !ok:
			unlisted++
		case t.Owner(i) != session:
			v.finding(o.Name, fmt.Errorf("it belongs to session %v", t.Owner(i)))
		default:
			t.size[i] = int32(min(o.Size, 1<<31-1))
		}
		return nil
	})
	if err != nil {
		return err
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	v.packs, v.result.Unlisted = t, unlisted
	return nil
}

// comparePacks reports the listed packs that are missing, or have another
// length than they should. One that is not listed any more by then was removed
// by a collector.
func (v *verifier) comparePacks(ctx context.Context) error {
	for {
		gone := v.missingPacks()
		if len(gone) == 0 {
			break
		}
		moved, err := v.catchUp(ctx)
		if err != nil {
			return err
		}
		if !moved || v.stillMissing(gone) {
			break
		}
	}
	for i, p := range v.packs.List {
		switch size := v.packs.size[i]; {
		case size == notThere:
			v.finding(packLabel(p.Hash), errors.New("missing"))
			v.examined[packLabel(p.Hash)] = true
		case int64(size) != int64(p.Size):
			v.finding(packLabel(p.Hash), fmt.Errorf("%d bytes, want %d", size, p.Size))
		case !v.options.ReadData && v.options.Snapshots == nil:
			v.result.Packs++
			v.result.Bytes += int64(size)
		}
	}
	return nil
}

// knownDamage reports the packs in which damage was found earlier and that were
// not read now.
func (v *verifier) knownDamage() {
	for i, p := range v.packs.List {
		if p.Damaged && v.packs.state[i]&packRead == 0 && (v.options.Snapshots == nil || v.packs.state[i]&packUsed != 0) {
			v.finding(packLabel(p.Hash), errors.New("damage was found in it earlier; with --read-data it is said what is lost"))
		}
	}
}

func (v *verifier) missingPacks() (gone []format.PackHash) {
	for i, p := range v.packs.List {
		if v.packs.size[i] == notThere {
			gone = append(gone, p.Hash)
		}
	}
	return gone
}

// stillMissing tells whether what is missing now was missing before.
func (v *verifier) stillMissing(before []format.PackHash) bool {
	old := map[format.PackHash]bool{}
	for _, hash := range before {
		old[hash] = true
	}
	for _, hash := range v.missingPacks() {
		if !old[hash] {
			return false
		}
	}
	return true
}

// catchUp brings the index in step with the newest head, if there is one since:
// a collector may have removed packs, and copied what was needed of them.
func (v *verifier) catchUp(ctx context.Context) (moved bool, err error) {
	if v.head == nil {
		return false, nil
	}
	h, err := v.repo.currentHead(ctx)
	if isDamage(err) {
		return false, nil // that was told when the heads were looked at, or the next verify tells it
	}
	if err != nil || h.Seq == v.head.Seq {
		return false, err
	}
	if err := v.syncIndex(ctx, h); err != nil {
		return false, err
	}
	if v.footers { // what they said was forgotten with the old head
		v.footers = false
		return true, v.readFooters(ctx)
	}
	return true, v.takePacks(ctx)
}

// removed tells whether a pack that is missing was taken from the index
// meanwhile.
func (v *verifier) removed(ctx context.Context, hash format.PackHash) (bool, error) {
	v.catching.Lock()
	defer v.catching.Unlock()
	if _, err := v.catchUp(ctx); err != nil {
		return false, err
	}
	_, listed := v.packs.Find(hash)
	return !listed, nil
}
