package vm

import (
	"errors"
	"fmt"
	"path/filepath"
	"strings"

	"libvirt.org/go/libvirt"
	"libvirt.org/go/libvirtxml"

	"vaultfs/internal/virt"
)

// overlayable refuses what overlays cannot be put on, before anything is changed. The XML is the live definition.
func overlayable(d *libvirt.Domain, g *guest, xml string) error {
	persistent, err := d.IsPersistent()
	if err != nil {
		return virt.Sentence(err)
	}
	if !persistent {
		return fmt.Errorf("it is transient: if it stopped while its disks have overlays, nothing would know where its newest data is; use --method backup")
	}
	var x libvirtxml.Domain
	if err := x.Unmarshal(xml); err != nil {
		return fmt.Errorf("the domain's XML: %w", err)
	}
	for i := range g.disks {
		one := &g.disks[i]
		if err := one.overlayable(); err != nil {
			return err
		}
		if err := diskFree(d, x.Devices.Disks, one); err != nil {
			return err
		}
	}
	return nil
}

// overlayable says why an overlay cannot be put over a disk's image.
func (d *disk) overlayable() error {
	switch {
	case d.special != "":
		return fmt.Errorf("disk %s cannot be read with --method snapshot: %s; use --method backup", d.target, d.special)
	case d.kind == "network":
		return fmt.Errorf("disk %s is on the network (%s), and --method snapshot needs images on this host: use --method backup", d.target, d.path)
	case d.onOverlay() != "":
		return errors.New(d.onOverlay())
	case d.format == "":
		return fmt.Errorf("disk %s: libvirt does not say the format of %s", d.target, d.path)
	}
	return nil
}

// onOverlay warns of a disk that was left on an overlay of a run; "" if it was not. What the journal tells of has been
// taken off before a guest is looked at.
func (d *disk) onOverlay() string {
	if !strings.HasSuffix(filepath.Dir(d.path), overlaysSuffix) {
		return ""
	}
	return fmt.Sprintf("disk %s lies on %s, an overlay of a vaultfs run that is not in this VM's journal: run vaultfs recover; "+
		"if that knows nothing of it, commit it with virsh blockcommit --active --shallow --pivot, never without --shallow", d.target, d.path)
}

// tellOnOverlays warns of disks that were left on overlays.
func tellOnOverlays(g *guest, r *Result) {
	for i := range g.disks {
		if warning := g.disks[i].onOverlay(); warning != "" {
			r.Warnings = append(r.Warnings, fmt.Sprintf("VM %q: %s", g.name, warning))
		}
	}
}

// diskFree makes sure that a disk is the guest's alone and that no job is at it.
func diskFree(d *libvirt.Domain, all []libvirtxml.DomainDisk, one *disk) error {
	for i := range all {
		x := &all[i]
		if targetOf(x) != one.target {
			continue
		}
		if x.Shareable != nil {
			return fmt.Errorf("disk %s is shared with other VMs (<shareable/>), whose writes an overlay would not show: use --method backup", one.target)
		}
		if x.Mirror != nil {
			return fmt.Errorf("disk %s is busy: libvirt is running a block job (%s) on it; try again when it has ended, see virsh blockjob", one.target, x.Mirror.Job)
		}
	}
	job, err := d.GetBlockJobInfo(one.target, 0)
	if err != nil {
		return fmt.Errorf("disk %s: its block jobs: %w", one.target, virt.Sentence(err))
	}
	if job != nil && job.Type != libvirt.DOMAIN_BLOCK_JOB_TYPE_UNKNOWN {
		return fmt.Errorf("disk %s is busy: libvirt is running a block job on it; try again when it has ended, see virsh blockjob", one.target)
	}
	return nil
}

// overlaySnapshotXML describes a snapshot that puts the overlays on. libvirt takes what is not listed along, so every
// other disk is listed too. The name is not kept: libvirt ends the names of overlays with it that it makes up.
func overlaySnapshotXML(name string, g *guest, made []overlay) (string, error) {
	var list []libvirtxml.DomainSnapshotDisk
	for _, o := range made {
		list = append(list, libvirtxml.DomainSnapshotDisk{
			Name:     o.Target,
			Snapshot: "external",
			Driver:   &libvirtxml.DomainDiskDriver{Type: "qcow2"},
			Source:   &libvirtxml.DomainDiskSource{File: &libvirtxml.DomainDiskSourceFile{File: o.File}},
		})
	}
	for _, l := range g.left {
		list = append(list, libvirtxml.DomainSnapshotDisk{Name: l.target, Snapshot: "no"})
	}
	x := libvirtxml.DomainSnapshot{Name: name, Disks: &libvirtxml.DomainSnapshotDisks{Disks: list}}
	return x.Marshal()
}

// snapshotError says why libvirt did not put the overlays on.
func (o *overlays) snapshotError(err error) error {
	name, dir, text := o.guest.name, o.dir.dir, virt.Sentence(err).Error()
	switch {
	case virt.IsCode(err, libvirt.ERR_OPERATION_TIMEOUT):
		return fmt.Errorf("VM %q is busy with another libvirt job (%s): try again when that has ended", name, text)
	case virt.IsCode(err, libvirt.ERR_NO_SUPPORT), virt.IsCode(err, libvirt.ERR_OPERATION_UNSUPPORTED), virt.IsCode(err, libvirt.ERR_CONFIG_UNSUPPORTED):
		return fmt.Errorf("VM %q: libvirt cannot make a snapshot of its disks (%s): use --method backup or --mode offline", name, text)
	case strings.Contains(text, "Permission denied"), strings.Contains(text, "Operation not permitted"):
		return fmt.Errorf("VM %q: QEMU may not write in %s (%s): %s", name, dir, text, o.dir.permissionHint())
	case strings.Contains(text, "No space left"):
		return fmt.Errorf("VM %q: no space for overlays in %s: free some or name another place with --scratch-dir", name, dir)
	}
	return fmt.Errorf("VM %q: the snapshot was not made: %s", name, text)
}
