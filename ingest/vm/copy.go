package vm

import (
	"context"
	"errors"
	"fmt"

	"vaultfs/chunk"
	"vaultfs/ingest"
	"vaultfs/repo"
)

// Disk is what became of one disk of a guest. Sizes are in bytes.
type Disk struct {
	Target     string
	Path       string
	Size       int64
	How        string // "incremental from 3f2a91c0", "full: the first backup"
	Read       int64  // from the guest
	Dirty      int64  // what the dirty bitmap called changed; 0 of a full read
	Audited    int64  // what of the rest was read again, and was as it was stored
	New        int64  // in chunks that the repository did not hold
	Stored     int64  // of those chunks as they are stored
	Checkpoint string // that was made for the next backup; "" for none
}

// copyDisks copies one disk after the other; each is read by several goroutines. A disk of which a dirty bitmap turns
// out to be wrong makes all of them be read as a whole.
func (r *run) copyDisks(ctx context.Context, s *repo.Session, src source) error {
	disks := src.opened()
	bases := r.bases(disks)
	if err := r.audit(ctx, src, disks, bases); err != nil {
		return err
	}
	if err := r.expect(ctx, s, src, disks, bases); err != nil {
		return err
	}
	items, err := r.copyEach(ctx, s, src, disks, bases)
	if err != nil {
		return err
	}
	for _, it := range items {
		if err := s.AddItem(it); err != nil {
			return err
		}
	}
	return nil
}

// expect adds up what there is to be read, and makes sure that there is room for it.
func (r *run) expect(ctx context.Context, s *repo.Session, src source, disks []openDisk, bases []*repo.Disk) error {
	var total int64
	incremental := true
	for i, d := range disks {
		n, err := toRead(ctx, d, bases[i])
		if err != nil {
			return readError(ctx, src, d, err)
		}
		total += n
		incremental = incremental && bases[i] != nil
	}
	if err := r.roomFor(ctx, total, s.Previous(), incremental); err != nil {
		return err
	}
	r.options.Progress.Total.Add(total)
	return nil
}

// copyEach copies the disks. If on the way a bitmap is seen to be wrong, or the base to be damaged, it begins again with
// all that there is: another disk may have relied on what was lost.
func (r *run) copyEach(ctx context.Context, s *repo.Session, src source, disks []openDisk, bases []*repo.Disk) (items []repo.Item, err error) {
	for i, d := range disks {
		it, useless, err := r.copyDisk(ctx, s, d, bases[i])
		if err != nil {
			return nil, readError(ctx, src, d, err)
		}
		if useless != nil {
			r.giveReason(d, useless)
		}
		if it.Root.IsZero() || useless != nil && !only(bases, i) {
			dropBases(useless, disks, bases)
			r.result.Disks = nil
			if err := r.expect(ctx, s, src, disks, bases); err != nil {
				return nil, err
			}
			return r.copyEach(ctx, s, src, disks, bases)
		}
		items = append(items, it)
	}
	return items, nil
}

// only tells whether no other disk has a base.
func only(bases []*repo.Disk, i int) bool {
	for k, base := range bases {
		if k != i && base != nil {
			return false
		}
	}
	return true
}

// bases are what the disks were at the checkpoint, of those that are read incrementally.
func (r *run) bases(disks []openDisk) []*repo.Disk {
	bases := make([]*repo.Disk, len(disks))
	for i := range disks {
		if disks[i].bitmap == "" {
			continue
		}
		base := r.plan.disks[disks[i].target]
		if base == nil || base.Size() != disks[i].Size() {
			disks[i].bitmap, disks[i].whyFull = "", "it is not the disk that was backed up before"
			continue
		}
		bases[i] = base
	}
	return bases
}

// toRead is how much of a disk there is to be read, in bytes.
func toRead(ctx context.Context, d openDisk, base *repo.Disk) (int64, error) {
	if base == nil {
		return ingest.DataBytes(ctx, d)
	}
	return ingest.ChangedBytes(ctx, d, d.Dirty)
}

// copyDisk copies one disk. Useless is why nothing that was to be taken over from the base can be relied on; if the disk
// has to be copied once more for that, the item has no root.
func (r *run) copyDisk(ctx context.Context, s *repo.Session, d openDisk, base *repo.Disk) (it repo.Item, useless, err error) {
	p := r.options.Progress
	read, before := p.Read.Load(), s.Stats()
	out := Disk{Target: d.target, Path: d.path, Size: d.Size(), Checkpoint: d.checkpoint, Audited: r.audited[len(r.result.Disks)]}
	var root chunk.ID
	if base == nil {
		out.How = "full: " + d.whyFull
		root, err = ingest.CopyDiskFrom(ctx, s, d, r.plan.before[d.target], p)
	} else {
		root, useless, err = r.copyChanged(ctx, s, d, base, &out)
	}
	if err != nil {
		return it, nil, err
	}
	after := s.Stats()
	out.Read, out.New, out.Stored = p.Read.Load()-read, after.BytesNew-before.BytesNew, after.BytesAdded-before.BytesAdded
	r.result.Disks = append(r.result.Disks, out)
	it = repo.Item{Name: d.target, Kind: repo.ItemDisk, Size: out.Size, Root: root, Checkpoint: d.checkpoint}
	it.Origin = repo.Origin{Path: d.path, Format: d.format, How: out.How, Read: out.Read, Dirty: out.Dirty, New: out.New, Stored: out.Stored}
	return it, useless, nil
}

// copyChanged copies what has changed of a disk since the base.
func (r *run) copyChanged(ctx context.Context, s *repo.Session, d openDisk, base *repo.Disk, out *Disk) (root chunk.ID, useless, err error) {
	out.How = "incremental from " + r.plan.base.Short()
	changes, err := ingest.CopyChanged(ctx, s, d, d.Dirty, base, r.options.Progress)
	switch {
	case err != nil:
		return chunk.ID{}, nil, err
	case changes.Lie != nil:
		return chunk.ID{}, changes.Lie, nil
	case errors.Is(changes.Loss, repo.ErrDamaged):
		out.How = "full: " + damagedBase
		return changes.Root, changes.Loss, nil
	case changes.Loss != nil:
		out.How = "full: the snapshot before cannot be read"
		r.warnUnreadable(d, changes.Loss, "")
		return changes.Root, nil, nil
	}
	out.Dirty = changes.Dirty
	return changes.Root, nil, nil
}

// damagedBase is why a disk is read as a whole when what it was to rely on is lost.
const damagedBase = "the snapshot before is damaged in the repository"

func (r *run) warnUnreadable(d openDisk, why error, advice string) {
	r.result.Warnings = append(r.result.Warnings, fmt.Sprintf(
		"VM %q: disk %s: snapshot %s, of which only the changes were to be read, cannot be read wholly (%v). What relied on it was read as a whole, and this backup is right%s",
		r.name, d.target, r.plan.base.Short(), why, advice))
}

// readError names the disk, and what happened to the guest if that is why.
func readError(ctx context.Context, src source, d openDisk, err error) error {
	err = fmt.Errorf("disk %s: %w", d.target, err)
	if ctx.Err() != nil || errors.Is(err, repo.ErrNoSpace) {
		return err
	}
	return src.explain(err)
}
