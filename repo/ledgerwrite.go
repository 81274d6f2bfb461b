package repo

import (
	"context"
	"crypto/rand"
	"fmt"
	"slices"

	"vaultfs/repo/format"
)

var (
	// ledgerParts is how many objects the ledger may have before they are joined.
	ledgerParts = 16

	// ledgerEntries is how many entries one object has at most: 40 MiB.
	ledgerEntries = 1 << 20
)

// A proof is what a run of verify has to record. Times are Unix seconds, below 0
// for damage.
type proof struct {
	packs     []format.LedgerPack
	snapshots []format.LedgerSnapshot
}

// recordRead adds to the ledger that packs were read as a whole now, and found
// good.
func (r *Repo) recordRead(ctx context.Context, packs []format.PackHash) error {
	var p proof
	now := wallClock().Unix()
	for _, hash := range packs {
		p.packs = append(p.packs, format.LedgerPack{Pack: hash, Time: now})
	}
	_, err := r.record(ctx, p)
	return err
}

// record adds to the ledger, and returns the objects that it wrote. It needs no
// lease: objects are only added, and what is replaced by a union is taken away
// after that is there.
func (r *Repo) record(ctx context.Context, p proof) (parts []string, err error) {
	slices.SortFunc(p.packs, comparePack)
	slices.SortFunc(p.snapshots, compareSnapshot)
	return r.putLedger(ctx, &format.Ledger{Packs: p.packs, Snapshots: p.snapshots})
}

// putLedger writes a ledger, in as many objects as it takes: none if it is empty.
func (r *Repo) putLedger(ctx context.Context, l *format.Ledger) (parts []string, err error) {
	packs, snapshots := l.Packs, l.Snapshots
	for len(packs)+len(snapshots) > 0 {
		n := min(len(packs), ledgerEntries)
		m := min(len(snapshots), ledgerEntries-n)
		part := &format.Ledger{Packs: packs[:n], Snapshots: snapshots[:m]}
		packs, snapshots = packs[n:], snapshots[m:]
		name, err := r.putLedgerPart(ctx, part)
		if err != nil {
			return parts, fmt.Errorf("recording what was verified: %w", err)
		}
		parts = append(parts, name)
	}
	return parts, nil
}

func (r *Repo) putLedgerPart(ctx context.Context, part *format.Ledger) (name string, err error) {
	var random [16]byte
	rand.Read(random[:])
	name = fmt.Sprintf("ledger/%x", random)
	b := part.Encode(newSalt(), r.ledgerKey, name)
	if _, err := format.DecodeLedger(r.ledgerKey, name, b); err != nil {
		return name, err
	}
	return name, r.store.Put(ctx, name, b)
}

// joinLedger replaces the objects of the ledger by fewer, when there are many or
// some are damaged. What keepPack and keepSnapshot do not want is left out: it
// is of objects that are gone.
//
// It is safe beside others without a lock. What replaces is durable before
// anything is deleted, and just those objects are deleted that it says all of,
// or that nobody can read. Two who do so at once leave two unions.
func (r *Repo) joinLedger(ctx context.Context, keepPack func(format.PackHash) bool, keepSnapshot func(format.SnapshotID) bool) error {
	l, err := r.Ledger(ctx)
	if err != nil && (len(l.wrong) == 0 || firstNewer(err) != nil) {
		return err
	}
	needed := (len(l.all.Packs) + len(l.all.Snapshots) + ledgerEntries - 1) / ledgerEntries
	if len(l.read) <= ledgerParts+needed && len(l.wrong) == 0 {
		return nil
	}
	l.all.Packs = slices.DeleteFunc(l.all.Packs, func(p format.LedgerPack) bool { return !keepPack(p.Pack) })
	l.all.Snapshots = slices.DeleteFunc(l.all.Snapshots, func(s format.LedgerSnapshot) bool { return !keepSnapshot(s.Snapshot) })
	if _, err := r.putLedger(ctx, &l.all); err != nil {
		return err
	}
	return r.deleteAll(ctx, append(l.read, l.wrong...))
}
