package vm

import (
	"context"
	"fmt"
	"slices"

	"libvirt.org/go/libvirt"

	"vaultfs/repo"
)

// plan says from what a guest is read incrementally, and what is left for the next time.
//
// The base is the snapshot of whose moment the checkpoint is, not the newest one: what the bitmap does not mark is as
// it was then. So a backup that failed, or one of the guest shut off, which makes no checkpoint, costs nothing but that
// a little more is read the next time; and an image that was set back together with its bitmap is read rightly too.
type plan struct {
	base *repo.Snapshot // nil: every disk is read as a whole
	from string         // the base's checkpoint
	why  string         // there is no base
	old  []string       // checkpoints of this repository that the guest has
	made []string       // all that the source's snapshots were made with

	unmade string // why no checkpoint is made; "" when one is

	disks    map[string]*repo.Disk // what the base's disks were at the checkpoint, by target
	unusable map[string]string     // why one cannot be relied on
	before   map[string]*repo.Disk // what a disk was in the base or, if there is none, in the newest snapshot, by target
}

// newPlan chooses the base. Trouble with checkpoints is never an error: it is the reason for a full read.
func newPlan(ctx context.Context, r *repo.Repo, d *libvirt.Domain, source string, o *Options) plan {
	p := plan{unmade: o.whyNoCheckpoint(d)}
	var err error
	if p.old, err = ownCheckpoints(d, checkpointPrefix(r)); err != nil {
		p.why = err.Error()
		return p
	}
	snapshots, err := r.Snapshots(ctx)
	if err != nil && len(snapshots) == 0 {
		p.why = "the snapshots cannot be read"
		return p
	}
	for _, s := range snapshots {
		if name := baseCheckpoint(s, nil); name != "" && s.Source == source {
			p.made = append(p.made, name)
		}
	}
	if lost := newestMarked(snapshots, source, p.old); lost != nil && findAgain(d, lost) {
		p.old = append(p.old, baseCheckpoint(lost, nil))
	}
	p.old = notOfOthers(p.old, r, snapshots, source)
	p.base, p.why = chooseBase(snapshots, source, p.old)
	if p.base != nil {
		p.from = baseCheckpoint(p.base, p.old)
	}
	if o.Full {
		p.base, p.from, p.why = nil, "", "--full"
	}
	return p
}

func (o *Options) whyNoCheckpoint(d *libvirt.Domain) string {
	switch {
	case o.NoCheckpoint:
		return "--no-checkpoint"
	case internalSnapshots(d):
		return "the VM has internal snapshots, to which it could not be set back while its images have dirty bitmaps"
	}
	return ""
}

// chooseBase is the newest snapshot of a source of which the guest still has the checkpoint.
func chooseBase(all []*repo.Snapshot, source string, checkpoints []string) (base *repo.Snapshot, why string) {
	known, marked := false, false
	for _, s := range all {
		if s.Source != source {
			continue
		}
		known = true
		marked = marked || baseCheckpoint(s, nil) != ""
		if len(checkpoints) > 0 && baseCheckpoint(s, checkpoints) != "" && (base == nil || s.Seq > base.Seq) {
			base = s
		}
	}
	switch {
	case base != nil:
		return base, ""
	case !known:
		return nil, "the first backup"
	case marked:
		return nil, "its checkpoint is gone"
	}
	return nil, "no backup has made a checkpoint yet"
}

// notOfOthers leaves out the checkpoints of snapshots of other sources: the VM is backed up under two names.
func notOfOthers(checkpoints []string, r *repo.Repo, all []*repo.Snapshot, source string) []string {
	others := map[string]bool{}
	for _, s := range all {
		others[checkpointName(r, s.ID)] = s.Source != source
	}
	return slices.DeleteFunc(checkpoints, func(name string) bool { return others[name] })
}

// newestMarked is the newest snapshot of a source that was made with a checkpoint, if the guest has none of the source.
func newestMarked(all []*repo.Snapshot, source string, checkpoints []string) (newest *repo.Snapshot) {
	if base, _ := chooseBase(all, source, checkpoints); base != nil {
		return nil
	}
	for _, s := range all {
		if s.Source == source && baseCheckpoint(s, nil) != "" && (newest == nil || s.Seq > newest.Seq) {
			newest = s
		}
	}
	return newest
}

// baseCheckpoint is the checkpoint of a snapshot's disks that is among those that exist; any if nil is given.
func baseCheckpoint(s *repo.Snapshot, exist []string) string {
	for _, it := range s.Items {
		if it.Checkpoint != "" && (exist == nil || slices.Contains(exist, it.Checkpoint)) {
			return it.Checkpoint
		}
	}
	return ""
}

// open opens the disks of the base; if there is none, those of the newest snapshot, which a full read compares with.
// That may take a while where the repository has been damaged, so it is done before the guest is begun to be read.
func (p *plan) open(ctx context.Context, s *repo.Session) {
	p.disks, p.unusable, p.before = map[string]*repo.Disk{}, map[string]string{}, map[string]*repo.Disk{}
	from := p.base
	if from == nil {
		from = s.Previous()
	}
	if from == nil {
		return
	}
	for _, it := range from.Items {
		if it.Kind != repo.ItemDisk {
			continue
		}
		d, err := s.OpenBase(ctx, it.Name)
		marked := p.base != nil && it.Checkpoint == p.from
		switch {
		case err == nil && marked:
			p.disks[it.Name] = d
			fallthrough
		case err == nil:
			p.before[it.Name] = d
		case marked:
			p.unusable[it.Name] = err.Error()
		}
	}
}

// whyFull says why a disk is read as a whole; "" when what its bitmap marks is enough. Size is the disk's, in bytes.
func (p *plan) whyFull(d *disk, size int64, bitmap bitmapOf) string {
	if p.base == nil {
		return p.why
	}
	it := p.base.Item(d.target)
	switch {
	case it == nil:
		return "the disk is new"
	case it.Checkpoint != p.from:
		if why := d.keepsBitmap(); why != "" {
			return why
		}
		return "the disk was not in the checkpoint"
	case p.unusable[d.target] != "":
		return p.unusable[d.target]
	case it.Path != d.path:
		return fmt.Sprintf("the disk was replaced, it was %s", it.Path)
	case it.Size != size:
		return fmt.Sprintf("the disk was resized from %d to %d bytes", it.Size, size)
	case !bitmap.exists:
		return "its dirty bitmap is missing"
	case !bitmap.whole:
		return "its dirty bitmap is broken or missing, as after QEMU has crashed"
	case bitmap.image != "" && bitmap.image != d.imageName():
		return "its image is another file than when the checkpoint was made"
	}
	return ""
}
