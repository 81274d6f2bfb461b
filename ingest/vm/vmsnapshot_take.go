package vm

import (
	"context"
	"errors"
	"fmt"
	"time"

	"libvirt.org/go/libvirt"

	"vaultfs/internal/virt"
)

// SnapshotOptions says how a libvirt snapshot is made.
type SnapshotOptions struct {
	Connect   string // libvirt URI; "" is the one libvirt prefers
	Name      string // of the snapshot; "vaultfs-" is put before it if it does not begin so. "" is that and the time
	NoQuiesce bool   // do not ask the guest agent to freeze filesystems
	StateDir  string // for journals, and for overlays of disks on block devices; "" is that of ingest.StateDir
	Program   string // and version, for the description
}

// SnapshotResult is a libvirt snapshot that was made.
type SnapshotResult struct {
	VMSnapshot
	Quiesced string        // "yes: …" or "no: …"
	Frozen   time.Duration // how long the guest was frozen
	Notes    []string      // for information
	Warnings []string      // what was left out or did not work as it should
}

// TakeSnapshot makes a snapshot of a VM by libvirt; nothing is copied. A VM that is shut off and has nothing but qcow2
// images gets an internal one where that can be gone back to, every other an external one of its disks, all at one
// moment, frozen around that if it can be. After an error there is no snapshot.
func TakeSnapshot(ctx context.Context, name string, o SnapshotOptions) (*SnapshotResult, error) {
	t, err := newTaking(ctx, name, o)
	if err != nil {
		return nil, err
	}
	defer t.close()
	if err := t.take(ctx, &Options{NoQuiesce: o.NoQuiesce}); err != nil {
		return nil, fmt.Errorf("VM %q: %w", name, err)
	}
	return t.result, nil
}

// taking is one snapshot in the making.
type taking struct {
	*atGuest
	result *SnapshotResult
	guest  *guest
	state  libvirt.DomainState
	active bool
	xml    string // of the snapshot
}

// newTaking finds out what can be made. Nothing is changed but what a run that died had left.
func newTaking(ctx context.Context, name string, o SnapshotOptions) (*taking, error) {
	made := time.Now().UTC()
	snapshot, err := snapshotName(o.Name, made)
	if err != nil {
		return nil, err
	}
	at, err := openGuest(ctx, o.Connect, o.StateDir, name)
	if err != nil {
		return nil, err
	}
	t := &taking{atGuest: at, result: &SnapshotResult{Notes: at.done}}
	t.result.VM, t.result.Name, t.result.Created = name, snapshot, made.Truncate(time.Second)
	if err := t.plan(ctx, o.Program); err != nil {
		t.close()
		return nil, fmt.Errorf("VM %q: %w", name, err)
	}
	return t, nil
}

// take makes the snapshot, with the guest frozen around it if it can be, and looks whether it is there.
func (t *taking) take(ctx context.Context, o *Options) error {
	flags := libvirt.DOMAIN_SNAPSHOT_CREATE_ATOMIC
	if t.result.Kind == KindExternal {
		flags |= libvirt.DOMAIN_SNAPSHOT_CREATE_DISK_ONLY
	}
	d := t.link.reach()
	create := func() error {
		if err := ctx.Err(); err != nil {
			return err
		}
		s, err := d.CreateSnapshotXML(t.xml, flags)
		if err != nil {
			return fmt.Errorf("the snapshot was not made: %w", virt.Sentence(err))
		}
		return s.Free()
	}
	r := t.result
	if !t.active {
		r.Quiesced = "yes: shut off"
		if err := setCheckpointsAside(d); err != nil {
			return err
		}
		if err := create(); err != nil {
			return err
		}
		return t.lookAt()
	}
	q, thawer, err := quiesced(ctx, t.link, t.guest, t.state, o, t.journal, create)
	if thawer != nil {
		if stuck := thawer.finish(t.name); stuck != nil {
			q.warning = stuck.Error()
		} else if recorded := t.journal.update(func(e *entry) { e.Freezing = false }); recorded != nil {
			err = errors.Join(err, recorded)
		}
	}
	if err != nil {
		return err
	}
	r.Quiesced, r.Frozen = q.String(), q.took
	if q.note != "" {
		r.Notes = append(r.Notes, q.note)
	}
	if q.warning != "" {
		r.Warnings = append(r.Warnings, q.warning)
	}
	return t.lookAt()
}

// lookAt makes sure that every overlay is on top of its disk, right above the image.
func (t *taking) lookAt() error {
	if t.result.Kind == KindInternal {
		return nil
	}
	all, err := readDefinitions(t.link)
	if err != nil {
		return err
	}
	for _, o := range t.result.overlays() {
		if err := all.find(o).inPlace(o); err != nil {
			return fmt.Errorf("the snapshot %s was made, but is not as it should be: %w", t.result.Name, err)
		}
	}
	return nil
}

// overlays are the overlays of an external snapshot.
func (s *VMSnapshot) overlays() (list []overlay) {
	for _, d := range s.Disks {
		if d.File != "" {
			list = append(list, overlay{Target: d.Target, File: d.File, Base: d.Image, Format: d.Format})
		}
	}
	return list
}

// setCheckpointsAside has libvirt forget our checkpoints of a guest that is off, of which it takes no snapshot as long as
// it knows one. The bitmaps stay in the images, and the next live backup has libvirt know them again.
func setCheckpointsAside(d *libvirt.Domain) error {
	names, err := ownCheckpoints(d, snapshotPrefix)
	if err != nil {
		return err
	}
	for _, name := range names {
		if err := deleteCheckpoint(d, name, libvirt.DOMAIN_CHECKPOINT_DELETE_METADATA_ONLY); err != nil {
			return fmt.Errorf("setting the checkpoint %s aside: %w", name, err)
		}
	}
	return nil
}
