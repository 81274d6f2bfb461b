package vm

import (
	"context"
	"slices"
	"strings"

	"vaultfs/internal/virt"

	"libvirt.org/go/libvirt"
)

// Domain is a guest that libvirt knows.
type Domain struct {
	Name, UUID string
	State      string // running, paused, shut off, …: virsh's words
	Disks      int    // that a backup would hold
}

// List is every guest of the host, by name.
func List(ctx context.Context, uri string) ([]Domain, error) {
	h, err := virt.Connect(uri)
	if err != nil {
		return nil, err
	}
	defer h.Close()
	var list []Domain
	err = h.Each(func(d *libvirt.Domain) error {
		if err := ctx.Err(); err != nil {
			return err
		}
		one, err := describe(d)
		if virt.IsCode(err, libvirt.ERR_NO_DOMAIN) {
			return nil // undefined since it was listed
		}
		list = append(list, one)
		return err
	})
	slices.SortFunc(list, func(a, b Domain) int { return strings.Compare(a.Name, b.Name) })
	return list, err
}

func describe(d *libvirt.Domain) (Domain, error) {
	state, _, err := d.GetState()
	if err != nil {
		return Domain{}, err
	}
	text, err := d.GetXMLDesc(libvirt.DOMAIN_XML_INACTIVE)
	if err != nil {
		return Domain{}, err
	}
	g, err := parseGuest(text)
	if err != nil {
		return Domain{}, err
	}
	return Domain{Name: g.name, UUID: g.uuid, State: stateName(state), Disks: len(g.disks)}, nil
}

func stateName(s libvirt.DomainState) string {
	switch s {
	case libvirt.DOMAIN_RUNNING, libvirt.DOMAIN_BLOCKED:
		return "running"
	case libvirt.DOMAIN_PAUSED:
		return "paused"
	case libvirt.DOMAIN_SHUTDOWN:
		return "in shutdown"
	case libvirt.DOMAIN_SHUTOFF:
		return "shut off"
	case libvirt.DOMAIN_CRASHED:
		return "crashed"
	case libvirt.DOMAIN_PMSUSPENDED:
		return "suspended by the guest"
	}
	return "without state"
}
