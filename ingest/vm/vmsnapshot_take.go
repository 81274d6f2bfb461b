package vm

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"time"

	"libvirt.org/go/libvirt"
	"libvirt.org/go/libvirtxml"

	"vaultfs/internal/virt"
)

// SnapshotOptions says how a libvirt snapshot is made.
type SnapshotOptions struct {
	Connect   string // libvirt URI; "" is the one libvirt prefers
	Name      string // of the snapshot; "vaultfs-" is put before it if it does not begin so. "" is that and the time
	NoQuiesce bool   // do not ask the guest agent to freeze filesystems
	StateDir  string // for journals, and for overlays of disks on block devices; "" is that of DefaultStateDir
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

// snapshotName is the name of a snapshot. It becomes part of file names, so it is held to what every tool takes for one.
func snapshotName(asked string, now time.Time) (string, error) {
	name := asked
	if name == "" {
		name = now.Format("2006-01-02T15-04-05Z")
	}
	plain := func(c rune) bool {
		return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || strings.ContainsRune("-_.", c)
	}
	if strings.TrimFunc(name, plain) != "" || strings.ContainsFunc(name, func(c rune) bool { return !plain(c) }) || len(name) > 100 {
		return "", fmt.Errorf("%w: snapshot name %q: want at most 100 letters, digits, and . _ -, as it becomes part of file names", ErrUsage, asked)
	}
	if !strings.HasPrefix(name, snapshotPrefix) {
		name = snapshotPrefix + name
	}
	return name, nil
}

// plan chooses the kind of snapshot and describes it.
func (t *taking) plan(ctx context.Context, program string) (err error) {
	d := t.link.reach()
	if t.state, _, err = d.GetState(); err != nil {
		return virt.Sentence(err)
	}
	if err := mayTake(d); err != nil {
		return err
	}
	flags := libvirt.DOMAIN_XML_INACTIVE
	active := t.state != libvirt.DOMAIN_SHUTOFF && t.state != libvirt.DOMAIN_CRASHED
	if active {
		flags = 0
		if err := noJobs(d, t.name); err != nil {
			return err
		}
	}
	x, err := parsedXML(d, flags)
	if err != nil {
		return err
	}
	text, err := d.GetXMLDesc(flags)
	if err != nil {
		return virt.Sentence(err)
	}
	if t.guest, err = parseGuest(text); err != nil {
		return err
	}
	if err := t.guest.mustHaveDisks(); err != nil {
		return err
	}
	if old, err := d.SnapshotLookupByName(t.result.Name, 0); err == nil {
		old.Free()
		return fmt.Errorf("it has a snapshot %s already: choose another name", t.result.Name)
	}
	t.result.State = stateName(t.state)
	kind, err := chooseKind(ctx, d, t.guest, x, active)
	if err != nil {
		return err
	}
	t.result.Kind = kind
	if err := t.placeDisks(); err != nil {
		return err
	}
	t.remark()
	t.xml, err = t.describe(program)
	return err
}

// mayTake refuses VMs whose disks libvirt names in more places than a snapshot changes, or forgets.
func mayTake(d *libvirt.Domain) error {
	persistent, err := d.IsPersistent()
	if err != nil {
		return virt.Sentence(err)
	}
	if !persistent {
		return errors.New("it is transient: once it is off libvirt knows neither it nor its snapshots; define it first (virsh define)")
	}
	if saved, err := d.HasManagedSaveImage(0); err == nil && saved {
		return errors.New("it is saved (virsh managedsave), and what it is restored to would go on without the snapshot: start it first, or drop what was saved (virsh managedsave-remove)")
	}
	return nil
}

// snapshotDir is where overlays of block devices are: there is no place beside these.
func snapshotDir(stateDir string) string { return filepath.Join(stateDir, "snapshots") }

// placeDisks says where each disk's overlay comes: beside its image, or, of a block device, in the state directory.
func (t *taking) placeDisks() error {
	for i := range t.guest.disks {
		d := &t.guest.disks[i]
		one := SnapshotDisk{Target: d.target, Image: d.path, Format: d.format}
		if t.result.Kind == KindExternal {
			dir := filepath.Dir(d.path)
			name := strings.TrimSuffix(filepath.Base(d.path), filepath.Ext(d.path))
			if d.kind == "block" {
				dir, name = filepath.Join(snapshotDir(t.stateDir), t.guest.uuid), d.target
				if err := makePassable(dir); err != nil {
					return fmt.Errorf("directory for overlays: %w", err)
				}
				if err := mustLast(dir); err != nil {
					return err
				}
			}
			one.File = filepath.Join(dir, name+"."+t.result.Name+".qcow2")
			if exists(one.File) {
				return fmt.Errorf("disk %s: %s is in the way: it exists already", d.target, one.File)
			}
		}
		t.result.Disks = append(t.result.Disks, one)
	}
	return nil
}

// remark tells what the snapshot is not, and what comes of it.
func (t *taking) remark() {
	r := t.result
	r.Notes = append(r.Notes, "this is not a backup: it lies on the same disks as the VM, and is lost with them")
	if r.Kind == KindInternal {
		r.Notes = append(r.Notes, "while it exists, backups of the running VM leave no checkpoint and read everything: QEMU could not go back to it while an image has a dirty bitmap")
	} else {
		r.Notes = append(r.Notes, "the images stay as they are now, and overlays beside them take what the VM writes from here on; the next backup reads every disk as a whole")
	}
	for _, l := range t.guest.left {
		if l.data {
			r.Warnings = append(r.Warnings, fmt.Sprintf("VM %q: %v", t.name, l))
		} else {
			r.Notes = append(r.Notes, l.String())
		}
	}
}

// describe is the snapshot's XML. libvirt takes what is not listed along, so every disk is.
func (t *taking) describe(program string) (string, error) {
	r := t.result
	by := snapshotBy
	if program != "" {
		by += " (" + program + ")"
	}
	x := libvirtxml.DomainSnapshot{
		Name:        r.Name,
		Description: by + snapshotWhile + r.State,
		Memory:      &libvirtxml.DomainSnapshotMemory{Snapshot: "no"},
		Disks:       new(libvirtxml.DomainSnapshotDisks),
	}
	for _, d := range r.Disks {
		one := libvirtxml.DomainSnapshotDisk{Name: d.Target, Snapshot: r.Kind}
		if d.File != "" {
			one.Driver = &libvirtxml.DomainDiskDriver{Type: "qcow2"}
			one.Source = &libvirtxml.DomainDiskSource{File: &libvirtxml.DomainDiskSourceFile{File: d.File}}
		}
		x.Disks.Disks = append(x.Disks.Disks, one)
	}
	for _, l := range t.guest.left {
		x.Disks.Disks = append(x.Disks.Disks, libvirtxml.DomainSnapshotDisk{Name: l.target, Snapshot: "no"})
	}
	return x.Marshal()
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
	if t.state == libvirt.DOMAIN_SHUTOFF || t.state == libvirt.DOMAIN_CRASHED {
		r.Quiesced = "yes: shut off"
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
