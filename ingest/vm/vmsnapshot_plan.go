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

// snapshotName is the name of a snapshot. It becomes part of file names, so it is held to what every tool takes for one.
func snapshotName(asked string, now time.Time) (string, error) {
	name := asked
	if name == "" {
		name = now.Format("2006-01-02T15-04-05Z")
	}
	plain := func(c rune) bool {
		return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || strings.ContainsRune("-_.", c)
	}
	if strings.ContainsFunc(name, func(c rune) bool { return !plain(c) }) || len(name) > 100 {
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
	if t.active, err = d.IsActive(); err != nil {
		return virt.Sentence(err)
	}
	flags := libvirt.DOMAIN_XML_INACTIVE
	if t.active {
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
	kind, err := chooseKind(ctx, d, t.guest, x, t.active)
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

// placeDisks says where each disk's overlay comes: beside its image, or, of a block device, in the state directory. The
// target is in its name: two images in one directory may differ in nothing but their suffix.
func (t *taking) placeDisks() error {
	for i := range t.guest.disks {
		d := &t.guest.disks[i]
		one := SnapshotDisk{Target: d.target, Image: d.path, Format: d.format}
		if t.result.Kind == KindExternal {
			dir := filepath.Dir(d.path)
			name := strings.TrimSuffix(filepath.Base(d.path), filepath.Ext(d.path)) + "." + d.target
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
