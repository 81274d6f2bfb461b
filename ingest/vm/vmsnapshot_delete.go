package vm

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"libvirt.org/go/libvirt"

	"vaultfs/internal/virt"
)

// DeleteOptions says how a libvirt snapshot is deleted.
type DeleteOptions struct {
	Connect  string // libvirt URI; "" is the one libvirt prefers
	StateDir string // for journals; "" is that of ingest.StateDir
}

// DeleteResult tells what deleting a libvirt snapshot did.
type DeleteResult struct {
	VMSnapshot
	Done []string // step by step; of a run that died too
}

// DeleteSnapshot deletes a snapshot that was made by vaultfs. The VM keeps the state that it is in now: of an external
// snapshot what was written since is committed into the images, whether the VM runs or not. It is refused where that
// would not be safe: for a snapshot that is not ours, or that others lie on.
//
// An external snapshot is gone from the moment that the first byte is committed, so libvirt's name of it goes first. If
// that is not finished then the journal has it, as it has the overlays of a backup, and Recover finishes it.
func DeleteSnapshot(ctx context.Context, vm, snapshot string, o DeleteOptions) (*DeleteResult, error) {
	r := new(DeleteResult)
	err := withSnapshot(ctx, vm, snapshot, o, func(at *atGuest, s *libvirt.DomainSnapshot, one VMSnapshot) error {
		r.VMSnapshot, r.Done = one, at.done
		if one.Kind == KindInternal {
			return deleteInternal(at, s, r)
		}
		return deleteExternal(ctx, at, s, r)
	})
	if err != nil {
		return nil, err
	}
	return r, nil
}

// withSnapshot calls do with a VM that nobody else is at, and a snapshot of it that was made by vaultfs.
func withSnapshot(ctx context.Context, vm, snapshot string, o DeleteOptions, do func(*atGuest, *libvirt.DomainSnapshot, VMSnapshot) error) error {
	at, err := openGuest(ctx, o.Connect, o.StateDir, vm)
	if err != nil {
		return err
	}
	defer at.close()
	s, one, err := findSnapshot(at, snapshot)
	if err != nil {
		return fmt.Errorf("VM %q: %w", vm, err)
	}
	defer s.Free()
	if err := do(at, s, one); err != nil {
		return fmt.Errorf("VM %q: snapshot %s: %w", vm, snapshot, err)
	}
	return nil
}

// findSnapshot finds one of ours by name. The caller frees it.
func findSnapshot(at *atGuest, name string) (*libvirt.DomainSnapshot, VMSnapshot, error) {
	s, err := at.domain.SnapshotLookupByName(name, 0)
	if virt.IsCode(err, libvirt.ERR_NO_DOMAIN_SNAPSHOT) {
		return nil, VMSnapshot{}, fmt.Errorf("it has no snapshot %s%s", name, oursAre(at))
	}
	if err != nil {
		return nil, VMSnapshot{}, virt.Sentence(err)
	}
	one, ours, err := describeSnapshot(at.name, s)
	if err == nil && !ours {
		err = fmt.Errorf("the snapshot %s was not made by vaultfs, which leaves it alone: delete it with virsh snapshot-delete", name)
	}
	if err != nil {
		s.Free()
		return nil, VMSnapshot{}, virt.Sentence(err)
	}
	return s, one, nil
}

// oursAre names the snapshots that could have been meant.
func oursAre(at *atGuest) string {
	list, err := snapshotsOf(at.domain)
	if err != nil || len(list) == 0 {
		return "; it has none that was made by vaultfs"
	}
	names := make([]string, len(list))
	for i, one := range list {
		names[i] = one.Name
	}
	return "; those made by vaultfs are: " + strings.Join(names, ", ")
}

// deleteInternal has QEMU take a snapshot out of the images.
func deleteInternal(at *atGuest, s *libvirt.DomainSnapshot, r *DeleteResult) error {
	all, err := readDefinitions(at.link)
	if err != nil {
		return err
	}
	if err := r.mustBeInside(all); err != nil {
		return err
	}
	if all.active() {
		if err := noJobs(at.link.reach(), at.name); err != nil {
			return err
		}
	}
	if err := s.Delete(0); err != nil {
		return fmt.Errorf("libvirt did not delete it: %w", virt.Sentence(err))
	}
	r.Done = append(r.Done, "took it out of the images")
	return nil
}

// mustBeInside makes sure that the images that hold an internal snapshot are the VM's disks.
func (s *VMSnapshot) mustBeInside(all *definitions) error {
	x := all.live
	if x == nil {
		x = all.inactive
	}
	now := imagesOf(x)
	for _, d := range s.Disks {
		if got := now[d.Target].path; got != d.Image {
			return fmt.Errorf("it is inside of %s, and disk %s is now %q, as after another snapshot or a replaced disk: go back to that image first", d.Image, d.Target, got)
		}
	}
	return nil
}

// deleteExternal commits the overlays into the images below and removes them.
func deleteExternal(ctx context.Context, at *atGuest, s *libvirt.DomainSnapshot, r *DeleteResult) error {
	if err := mayCommit(at, s, r.overlays()); err != nil {
		return err
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := announceMerge(at, s, r); err != nil {
		return err
	}
	m := newMerger(at.link, at.journal)
	m.did = func(format string, args ...any) { r.Done = append(r.Done, fmt.Sprintf(format, args...)) }
	if err := m.all(); err != nil {
		return err
	}
	r.removeDirs(at.stateDir)
	return nil
}

// removeDirs removes the directories that were made for overlays of block devices.
func (s *VMSnapshot) removeDirs(stateDir string) {
	for _, d := range s.Disks {
		if dir := filepath.Dir(d.File); strings.HasPrefix(dir, snapshotDir(stateDir)+"/") {
			os.Remove(dir) // fails while there is another overlay in it
		}
	}
}

// announceMerge writes the overlays into the journal, and takes libvirt's name from the snapshot. From the journal on the
// snapshot is as good as gone, so its name is there too until libvirt has dropped it.
func announceMerge(at *atGuest, s *libvirt.DomainSnapshot, r *DeleteResult) error {
	list := r.overlays()
	for i := range list {
		if exists(list[i].Base) { // else nothing is left but libvirt's name of it, or it was refused
			var err error
			if list[i].Under, err = underOf(list[i].Base); err != nil {
				return fmt.Errorf("disk %s: %w", list[i].Target, err)
			}
		}
	}
	if err := at.journal.update(func(e *entry) { e.Overlays, e.Snapshot = list, r.Name }); err != nil {
		return err
	}
	if err := s.Delete(libvirt.DOMAIN_SNAPSHOT_DELETE_METADATA_ONLY); err != nil {
		err = fmt.Errorf("libvirt did not delete it: %w", virt.Sentence(err))
		return errors.Join(err, at.journal.update(func(e *entry) { e.Overlays, e.Snapshot = nil, "" }))
	}
	return at.journal.update(func(e *entry) { e.Snapshot = "" })
}

// mayCommit refuses to commit overlays on which somebody relies, or that are not where they were put. Where nothing is
// left of a snapshot but libvirt's name of it, as after a run that was killed, there is nothing to be refused.
func mayCommit(at *atGuest, s *libvirt.DomainSnapshot, list []overlay) error {
	if err := mustHaveNoChildren(s); err != nil {
		return err
	}
	all, err := readDefinitions(at.link)
	if err != nil {
		return err
	}
	if all.active() {
		if err := noJobs(at.link.reach(), at.name); err != nil {
			return err
		}
	}
	for _, o := range list {
		p := all.find(o)
		if !exists(o.File) && !p.live.named() && !p.inactive.named() && !p.saved.named() {
			continue
		}
		if err := p.inPlace(o); err != nil {
			return err
		}
		if !exists(o.File) {
			return fmt.Errorf("disk %s: its overlay %s is gone, and with it what the VM wrote since the snapshot: look for it; if it cannot be brought back, go back to %s with vaultfs vm revert-snapshot", o.Target, o.File, o.Base)
		}
		if o.Base == "" || !exists(o.Base) {
			return fmt.Errorf("disk %s: the image %q, which its overlay lies on, is not there", o.Target, o.Base)
		}
	}
	return nil
}
