package vm

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"libvirt.org/go/libvirt"
	"libvirt.org/go/libvirtxml"

	"vaultfs/internal/virt"
)

// A snapshot of libvirt's lies where the guest's disks lie, so it is no backup: it helps against a change that is
// regretted, not against a disk that is lost. It is made, listed and deleted here as an aid beside backups, and needs no
// repository. Those made by vaultfs are known by their names' prefix and by the description together; no other is
// touched.

const (
	// snapshotPrefix begins the names of libvirt's snapshots that are made here.
	snapshotPrefix = "vaultfs-"
	// snapshotBy begins their descriptions.
	snapshotBy = "made by vaultfs"
	// snapshotWhile stands in them before the guest's state.
	snapshotWhile = " while the VM was "
)

// Kind says where a libvirt snapshot keeps a disk's state.
const (
	KindInternal = "internal" // in the disk's own qcow2 image
	KindExternal = "external" // the image stays as it was, an overlay takes what is written from then on
)

// VMSnapshot is a snapshot of libvirt's that was made by vaultfs.
type VMSnapshot struct {
	VM, Name string
	Kind     string // KindInternal or KindExternal
	Created  time.Time
	State    string // of the guest then: "running", "shut off"
	Current  bool   // libvirt's current one: the newest, unless the guest was set back
	Disks    []SnapshotDisk
}

// SnapshotDisk is one disk of a snapshot.
type SnapshotDisk struct {
	Target string // "vda"
	Image  string // that holds the state of the moment
	Format string // of Image
	File   string // the overlay over it; "" of an internal snapshot
}

// ListSnapshots lists the snapshots that were made by vaultfs, by VM and then oldest first: of the VMs named, or of all.
func ListSnapshots(ctx context.Context, uri string, names []string) (list []VMSnapshot, err error) {
	h, err := virt.Connect(uri)
	if err != nil {
		return nil, err
	}
	defer h.Close()
	add := func(d *libvirt.Domain) error {
		if err := ctx.Err(); err != nil {
			return err
		}
		of, err := snapshotsOf(d)
		list = append(list, of...)
		return err
	}
	if len(names) == 0 {
		err = h.Each(add)
	}
	for _, name := range names {
		d, err := h.Lookup(name)
		if err != nil {
			return nil, err
		}
		err = add(d)
		d.Free()
		if err != nil {
			return nil, err
		}
	}
	slices.SortStableFunc(list, func(a, b VMSnapshot) int {
		return cmp.Or(strings.Compare(a.VM, b.VM), a.Created.Compare(b.Created))
	})
	return list, err
}

// snapshotsOf are a domain's; none of one that was undefined since it was listed.
func snapshotsOf(d *libvirt.Domain) (list []VMSnapshot, err error) {
	vm, err := d.GetName()
	if err != nil {
		return nil, virt.Sentence(err)
	}
	all, err := d.ListAllSnapshots(0)
	if virt.IsCode(err, libvirt.ERR_NO_SUPPORT) || virt.IsCode(err, libvirt.ERR_NO_DOMAIN) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("VM %q: its snapshots: %w", vm, virt.Sentence(err))
	}
	for i := range all {
		one, ours, described := describeSnapshot(vm, &all[i])
		if ours && described == nil {
			list = append(list, one)
		}
		if described != nil && !virt.IsCode(described, libvirt.ERR_NO_DOMAIN_SNAPSHOT) && err == nil {
			err = fmt.Errorf("VM %q: its snapshots: %w", vm, virt.Sentence(described))
		}
		all[i].Free()
	}
	return list, err
}

// describeSnapshot reads a snapshot's XML. Ours tells whether it was made here.
func describeSnapshot(vm string, s *libvirt.DomainSnapshot) (one VMSnapshot, ours bool, err error) {
	text, err := s.GetXMLDesc(0)
	if err != nil {
		return one, false, err
	}
	var x libvirtxml.DomainSnapshot
	if err := x.Unmarshal(text); err != nil {
		return one, false, fmt.Errorf("a snapshot's XML: %w", err)
	}
	if !strings.HasPrefix(x.Name, snapshotPrefix) || !strings.HasPrefix(x.Description, snapshotBy) {
		return one, false, nil
	}
	one = VMSnapshot{VM: vm, Name: x.Name, Kind: KindInternal, State: snapshotState(&x)}
	var seconds int64
	if _, err := fmt.Sscan(x.CreationTime, &seconds); err == nil {
		one.Created = time.Unix(seconds, 0).UTC()
	}
	if current, err := s.IsCurrent(0); err == nil {
		one.Current = current
	}
	images := imagesOf(x.Domain)
	if x.Disks == nil {
		return one, true, nil
	}
	for _, d := range x.Disks.Disks {
		disk := SnapshotDisk{Target: d.Name, Image: images[d.Name].path, Format: images[d.Name].format}
		switch {
		case d.Snapshot == "internal":
		case d.Snapshot == "external" && d.Source != nil:
			one.Kind, disk.File = KindExternal, pathOf(d.Source)
		default:
			continue
		}
		one.Disks = append(one.Disks, disk)
	}
	return one, true, nil
}

// snapshotState is the state of the guest when a snapshot was made, in virsh's words. Our description ends in it: libvirt
// has "disk-snapshot" for a guest that had its disks taken only, whether it ran or not.
func snapshotState(x *libvirtxml.DomainSnapshot) string {
	if _, state, ok := strings.Cut(x.Description, snapshotWhile); ok {
		return state
	}
	return x.State
}

// imagesOf are a domain's images, by target.
func imagesOf(x *libvirtxml.Domain) map[string]layer {
	images := map[string]layer{}
	if x == nil || x.Devices == nil {
		return images
	}
	for i := range x.Devices.Disks {
		d := &x.Devices.Disks[i]
		if d.Source == nil {
			continue
		}
		l := layer{path: pathOf(d.Source), format: "raw"}
		if d.Driver != nil && d.Driver.Type != "" {
			l.format = d.Driver.Type
		}
		images[targetOf(d)] = l
	}
	return images
}
