package vm

import (
	"context"
	"errors"
	"fmt"

	"vaultfs/ingest"
	"vaultfs/repo"
)

// auditBudget is how much of a disk is compared where no share is asked for, in bytes: enough to notice a bitmap that is
// wrong altogether, and so little that it costs nothing.
const auditBudget = 4 << 20

// audit reads a sample of what the dirty bitmaps call clean. If it is not what is stored, no bitmap of the guest is
// relied on.
func (r *run) audit(ctx context.Context, src source, disks []openDisk, bases []*repo.Disk) error {
	r.audited = make([]int64, len(disks))
	if r.options.NoAudit {
		return nil
	}
	o := ingest.AuditOptions{Share: r.options.Audit / 100}
	if o.Share == 0 {
		o.Budget = auditBudget
	}
	for i, d := range disks {
		if bases[i] == nil {
			continue
		}
		checked, err := ingest.Audit(ctx, r.repo, d, d.Dirty, bases[i], o, r.options.Progress)
		r.audited[i] = checked
		var wrong *ingest.AuditError
		if errors.As(err, &wrong) {
			r.giveReason(d, wrong)
			dropBases(wrong, disks, bases)
			return nil
		}
		if errors.Is(err, repo.ErrDamaged) {
			bases[i], disks[i].bitmap, disks[i].whyFull = nil, "", err.Error()
			continue
		}
		if err != nil {
			return readError(ctx, src, d, err)
		}
	}
	return nil
}

// giveReason warns of why nothing is taken over from the base.
func (r *run) giveReason(d openDisk, useless error) {
	var wrong *ingest.AuditError
	if !errors.As(useless, &wrong) {
		r.warnUnreadable(d, useless, ": run vaultfs verify --read-data")
		return
	}
	r.result.Warnings = append(r.result.Warnings, fmt.Sprintf(
		"VM %q: THE DIRTY BITMAP OF DISK %s IS WRONG: %d bytes at %d differ from the last backup though it calls them unchanged. All disks were read as a whole for this backup, which is right; snapshots made incrementally since checkpoint %s may not be. Something writes to the image past QEMU, or QEMU has a fault",
		r.name, d.target, wrong.Len, wrong.Off, r.plan.from))
}

// dropBases makes all disks be read as a whole.
func dropBases(useless error, disks []openDisk, bases []*repo.Disk) {
	why := damagedBase
	var wrong *ingest.AuditError
	if errors.As(useless, &wrong) {
		why = "a dirty bitmap was found to be wrong"
	}
	for i := range disks {
		bases[i] = nil
		if disks[i].bitmap != "" {
			disks[i].bitmap, disks[i].whyFull = "", why
		}
	}
}
