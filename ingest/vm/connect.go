package vm

import (
	"fmt"
	"net/url"
	"os"
	"strings"

	"libvirt.org/go/libvirt"
)

// host is a connection to a libvirt daemon on this machine.
type host struct {
	conn *libvirt.Connect
	uri  string
}

// connect opens a libvirt URI; "" is the one libvirt itself prefers.
func connect(uri string) (*host, error) {
	if err := refuseRemote(uri); err != nil {
		return nil, err
	}
	conn, err := libvirt.NewConnect(uri)
	if err != nil {
		return nil, connectError(uri, err)
	}
	h := &host{conn: conn, uri: uri}
	if real, err := conn.GetURI(); err == nil {
		h.uri = real
	}
	if err := refuseRemote(h.uri); err != nil {
		h.close()
		return nil, err
	}
	return h, nil
}

func (h *host) close() { h.conn.Close() }

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

// lookup finds a domain by name. The caller frees it.
func (h *host) lookup(name string) (*libvirt.Domain, error) {
	d, err := h.conn.LookupDomainByName(name)
	if err == nil {
		return d, nil
	}
	if !isCode(err, libvirt.ERR_NO_DOMAIN) {
		return nil, fmt.Errorf("VM %q: %w", name, sentence(err))
	}
	names, err := h.names()
	if err != nil {
		return nil, err
	}
	if len(names) == 0 {
		return nil, fmt.Errorf("VM %q does not exist: %s has no VMs", name, h.uri)
	}
	return nil, fmt.Errorf("VM %q does not exist; %s has: %s", name, h.uri, strings.Join(names, ", "))
}
