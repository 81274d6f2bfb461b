package vm

import (
	"context"
	"fmt"
	"slices"

	"libvirt.org/go/libvirt"
	"libvirt.org/go/libvirtxml"

	"vaultfs/internal/virt"
)

// definitions are all the places where libvirt names a guest's images.
type definitions struct {
	domain   *libvirt.Domain
	live     *libvirtxml.Domain // what runs; nil if nothing does
	inactive *libvirtxml.Domain // what is started the next time; nil of a transient domain
	saved    *libvirtxml.Domain // what a managed save is restored to; nil if there is none
}

func (d *definitions) active() bool { return d.live != nil }

// disks are those of the guest that runs, or that it is started with the next time.
func (d *definitions) disks() []libvirtxml.DomainDisk {
	x := d.live
	if x == nil {
		x = d.inactive
	}
	if x == nil || x.Devices == nil {
		return nil
	}
	return x.Devices.Disks
}

// readDefinitions asks again if the connection broke meanwhile.
func readDefinitions(l *link) (*definitions, error) {
	d := l.reach()
	all, err := definitionsOf(d)
	if now := l.reach(); err != nil && now != d {
		all, err = definitionsOf(now)
	}
	return all, err
}

func definitionsOf(d *libvirt.Domain) (*definitions, error) {
	all := &definitions{domain: d}
	now, err := parsedXML(d, libvirt.DOMAIN_XML_SECURE)
	if err != nil {
		return nil, err
	}
	if now.ID != nil {
		all.live = now
	}
	if persistent, err := d.IsPersistent(); err != nil {
		return nil, virt.Sentence(err)
	} else if persistent {
		if all.inactive, err = parsedXML(d, libvirt.DOMAIN_XML_SECURE|libvirt.DOMAIN_XML_INACTIVE); err != nil {
			return nil, err
		}
	}
	if saved, err := d.HasManagedSaveImage(0); err == nil && saved {
		text, err := d.ManagedSaveGetXMLDesc(libvirt.DOMAIN_SAVE_IMAGE_XML_SECURE)
		if err != nil {
			return nil, fmt.Errorf("what the saved guest is restored to: %w", virt.Sentence(err))
		}
		all.saved = new(libvirtxml.Domain)
		if err := all.saved.Unmarshal(text); err != nil {
			return nil, fmt.Errorf("what the saved guest is restored to: %w", err)
		}
	}
	return all, nil
}

func parsedXML(d *libvirt.Domain, flags libvirt.DomainXMLFlags) (*libvirtxml.Domain, error) {
	text, err := d.GetXMLDesc(flags)
	if err != nil {
		return nil, fmt.Errorf("the domain's XML: %w", virt.Sentence(err))
	}
	x := new(libvirtxml.Domain)
	if err := x.Unmarshal(text); err != nil {
		return nil, fmt.Errorf("the domain's XML: %w", err)
	}
	return x, nil
}

// place is where an overlay is named.
type place struct {
	active                bool
	live, inactive, saved naming
	liveBase              bool // what runs has the image below as its disk, without the overlay
}

// naming is one definition's word for an overlay.
type naming struct {
	disk   *libvirtxml.DomainDisk // that names it; nil for none
	above  string                 // the image that lies on it, put there by somebody else; "" for none
	below  string                 // the image that it lies on; "" if that is not said
	mirror string                 // the image that a block job copies it to; "" for none
}

func (n naming) named() bool { return n.disk != nil }

// find says where an overlay is named.
func (d *definitions) find(o overlay) place {
	p := place{active: d.active(), live: d.naming(d.live, o.File), inactive: d.naming(d.inactive, o.File), saved: d.naming(d.saved, o.File)}
	p.liveBase = !p.live.named() && d.naming(d.live, o.Base).named()
	return p
}

// naming is where one definition names an image.
func (d *definitions) naming(x *libvirtxml.Domain, file string) naming {
	if x == nil || x.Devices == nil {
		return naming{}
	}
	for i := range x.Devices.Disks {
		disk := &x.Devices.Disks[i]
		chain := d.chain(disk)
		at := slices.Index(chain, file)
		if at < 0 {
			continue
		}
		n := naming{disk: disk}
		if at > 0 {
			n.above = chain[at-1]
		}
		if at+1 < len(chain) {
			n.below = chain[at+1]
		}
		if disk.Mirror != nil && disk.Mirror.Source != nil {
			n.mirror = d.path(disk.Mirror.Source)
		}
		return n
	}
	return naming{}
}

// chain is the paths of a disk's images as far as its definition says them, top first.
func (d *definitions) chain(disk *libvirtxml.DomainDisk) (paths []string) {
	if disk.Source == nil {
		return nil
	}
	paths = append(paths, d.path(disk.Source))
	for b := disk.BackingStore; b != nil && b.Source != nil; b = b.BackingStore {
		paths = append(paths, d.path(b.Source))
	}
	return paths
}

// lyingOn is a disk whose images lie on a file by their headers, where the definition does not say what they lie on; "" if
// there is none. A definition that is not in use need not say it. An image that QEMU has open cannot be asked: what runs
// says all.
func (d *definitions) lyingOn(file string) (target string) {
	for _, x := range []*libvirtxml.Domain{d.inactive, d.saved} {
		if x == nil || x.Devices == nil {
			continue
		}
		for i := range x.Devices.Disks {
			if why, _ := leaveOut(&x.Devices.Disks[i]); why != "" {
				continue
			}
			one := diskOf(&x.Devices.Disks[i])
			one.path = d.path(x.Devices.Disks[i].Source)
			if one.kind != "network" && one.liesOn(file) {
				return one.target
			}
		}
	}
	return ""
}

// liesOn follows the headers as far as they can be read.
func (d *disk) liesOn(file string) bool {
	for l, depth := (layer{d.path, d.format}), 0; depth < maxLayers; depth++ {
		next, err := backingLayer(context.Background(), l)
		if err != nil || next == (layer{}) {
			return false
		}
		if next.path == file {
			return true
		}
		l = next
	}
	return false
}

// path is that of a source, also of one that is a volume of a storage pool.
func (d *definitions) path(s *libvirtxml.DomainDiskSource) string {
	one := disk{kind: sourceKind(s), path: pathOf(s), volume: s.Volume}
	if one.kind != "volume" {
		return one.path
	}
	conn, err := d.domain.DomainGetConnect()
	if err != nil {
		return one.path
	}
	defer conn.Close()
	// A volume that is not found keeps its name, which is no path, and so is none of the images that are looked for.
	_ = resolveVolume(&virt.Host{Conn: conn}, &one)
	return one.path
}

// inPlace says what is not as it is while the guest is read: the overlay on top, our image right below, no job at it.
// With the guest off it is the inactive definition that tells.
func (p place) inPlace(o overlay) error {
	n := p.live
	if !p.active {
		n = p.inactive
	}
	switch {
	case !n.named() && !p.active:
		return fmt.Errorf("disk %s: the guest stopped, and its definition does not name the overlay %s any more: somebody has changed it", o.Target, o.File)
	case !n.named():
		return fmt.Errorf("disk %s is not on the overlay %s any more: it was taken out, or somebody has committed it", o.Target, o.File)
	case n.above != "":
		return o.buried(n.above)
	case n.below != o.Base && (p.active || n.below != ""):
		return fmt.Errorf("disk %s: its overlay lies on %q and not on %s, as it must", o.Target, n.below, o.Base)
	case n.disk.Mirror != nil:
		return fmt.Errorf("disk %s: somebody has begun a block job (%s) on it", o.Target, n.disk.Mirror.Job)
	}
	return nil
}

// buried is the error of a disk on which somebody put another image meanwhile.
func (o overlay) buried(above string) error {
	return fmt.Errorf("disk %s: somebody has put %s over the overlay %s: remove that snapshot first", o.Target, above, o.File)
}
