package repo

import (
	"context"

	"vaultfs/repo/format"
)

// keepReadTimes tells the ledger when the packs of snapshots that are about to
// go were read back by their ingest: as long as the manifest is there it says so
// itself, and a pack may outlive it. What is not known any more is only read
// again sooner, so that no error ends the collection.
func (d *deleter) keepReadTimes(ctx context.Context) {
	written := map[format.SnapshotID]int64{}
	for _, r := range d.survey.forgotten {
		m, err := d.repo.readManifest(ctx, r.id)
		if err != nil {
			continue
		}
		if s := newSnapshot(m); readBack(s) {
			written[r.id] = s.Time.Unix()
		}
	}
	if len(written) == 0 {
		return
	}
	packs, err := d.repo.index.Packs()
	if err != nil {
		return
	}
	var p proof
	for i, l := range packs.List {
		if t, ok := written[packs.Owner(i)]; ok && t > 0 {
			p.packs = append(p.packs, format.LedgerPack{Pack: l.Hash, Time: t})
		}
	}
	if _, err := d.repo.record(ctx, p); err != nil {
		d.repo.warn(err.Error())
	}
}

// tidyLedger joins the parts of the ledger where there are many.
func (d *deleter) tidyLedger(ctx context.Context) {
	packs, err := d.repo.index.Packs()
	if err != nil {
		return
	}
	gone := map[format.SnapshotID]bool{}
	for _, r := range d.survey.forgotten {
		gone[r.id] = true
	}
	err = d.repo.joinLedger(ctx, func(hash format.PackHash) bool {
		_, ok := packs.Find(hash)
		return ok
	}, func(id format.SnapshotID) bool { return !gone[id] })
	if err != nil {
		d.repo.warn(err.Error())
	}
}
