package virt

import (
	"fmt"
	"net/url"
	"os"
	"slices"
	"strings"

	"libvirt.org/go/libvirt"
)

// Host is a connection to a libvirt daemon on this machine.
type Host struct {
	Conn *libvirt.Connect
	URI  string
}

// Connect opens a libvirt URI; "" is the one libvirt itself prefers.
func Connect(uri string) (*Host, error) {
	if err := refuseRemote(uri); err != nil {
		return nil, err
	}
	conn, err := libvirt.NewConnect(uri)
	if err != nil {
		return nil, connectError(uri, err)
	}
	h := &Host{Conn: conn, URI: uri}
	if real, err := conn.GetURI(); err == nil {
		h.URI = real
	}
	if err := refuseRemote(h.URI); err != nil {
		h.Close()
		return nil, err
	}
	return h, nil
}

// Close gives the connection back.
func (h *Host) Close() { h.Conn.Close() }

// refuseRemote refuses a URI of another machine: its sockets and images cannot be opened from here.
func refuseRemote(uri string) error {
	u, err := url.Parse(uri)
	if err != nil {
		return fmt.Errorf("libvirt URI %q: not a URI", uri)
	}
	name := u.Hostname()
	self, _ := os.Hostname()
	if name == "" || name == "localhost" || name == self || u.Scheme == "test" {
		return nil
	}
	return fmt.Errorf("libvirt URI %q names another host: its disks can only be read there, run vaultfs on %s", uri, name)
}

// Lookup finds a domain by name. The caller frees it.
func (h *Host) Lookup(name string) (*libvirt.Domain, error) {
	d, err := h.Conn.LookupDomainByName(name)
	if err == nil {
		return d, nil
	}
	if !IsCode(err, libvirt.ERR_NO_DOMAIN) {
		return nil, fmt.Errorf("VM %q: %w", name, Sentence(err))
	}
	names, err := h.Names()
	if err != nil {
		return nil, err
	}
	if len(names) == 0 {
		return nil, fmt.Errorf("VM %q does not exist: %s has no VMs", name, h.URI)
	}
	return nil, fmt.Errorf("VM %q does not exist; %s has: %s", name, h.URI, strings.Join(names, ", "))
}

// Names is the name of every domain, sorted.
func (h *Host) Names() ([]string, error) {
	var names []string
	err := h.Each(func(d *libvirt.Domain) error {
		if name, err := d.GetName(); err == nil {
			names = append(names, name)
		}
		return nil
	})
	slices.Sort(names)
	return names, err
}

// Each calls f with every domain and frees them all.
func (h *Host) Each(f func(*libvirt.Domain) error) error {
	all, err := h.Conn.ListAllDomains(0)
	if err != nil {
		return fmt.Errorf("listing the VMs of %s: %w", h.URI, Sentence(err))
	}
	var failed error
	for i := range all {
		if failed == nil {
			failed = f(&all[i])
		}
		all[i].Free()
	}
	return failed
}
