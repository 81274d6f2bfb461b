package vm

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/beevik/etree"
	"libvirt.org/go/libvirt"

	"vaultfs/internal/virt"
)

// ErrUndecided is in the error of a restore that does not know whether libvirt has defined the domain: the answer was
// lost, and it cannot be asked. All files are kept, for they may be the domain's.
var ErrUndecided = errors.New("whether libvirt has defined it is not known")

// define gives the definition to libvirt, once more making sure that no domain is replaced: libvirt would replace one
// that has both the name and the UUID.
func (p *plan) define(ctx context.Context) (*libvirt.Domain, error) {
	text, err := p.doc.WriteToString()
	if err != nil {
		return nil, err
	}
	if err := p.nameIsFree(); err != nil {
		return nil, err
	}
	d, err := p.host.Conn.DomainDefineXML(text)
	if err == nil {
		return d, nil
	}
	refused := fmt.Errorf("libvirt refuses its definition: %w", virt.Sentence(err))
	if d, err = p.lookAgain(ctx); err != nil {
		return nil, p.undecided(err)
	}
	if d == nil {
		return nil, refused
	}
	return d, nil
}

// lookAgain looks for the domain after an error. That may have been the loss of the answer alone, as when the daemon is
// restarted just then. It is nil if there is no such domain.
func (p *plan) lookAgain(ctx context.Context) (*libvirt.Domain, error) {
	if err := p.reconnect(ctx); err != nil {
		return nil, err
	}
	d, err := p.host.Conn.LookupDomainByUUIDString(p.uuid)
	if virt.IsCode(err, libvirt.ERR_NO_DOMAIN) {
		return nil, nil
	}
	if err != nil {
		return nil, virt.Sentence(err)
	}
	ours, err := p.isOurs(d)
	if err != nil || !ours {
		d.Free()
		return nil, err
	}
	return d, nil
}

// isOurs tells whether a domain is the planned one: it has its name and all of its disks.
func (p *plan) isOurs(d *libvirt.Domain) (bool, error) {
	text, err := d.GetXMLDesc(libvirt.DOMAIN_XML_INACTIVE)
	if err != nil {
		return false, virt.Sentence(err)
	}
	doc := etree.NewDocument()
	if err := doc.ReadFromString(text); err != nil || doc.Root() == nil {
		return false, fmt.Errorf("its definition is no XML: %v", err)
	}
	has := map[string]bool{}
	for _, disk := range devices(doc.Root(), "disk") {
		has[attr(disk, "source", "file")] = true
	}
	for _, f := range p.files {
		if f.format != "" && !has[f.path] {
			return false, nil
		}
	}
	return strings.TrimSpace(doc.Root().SelectElement("name").NotNil().Text()) == p.name, nil
}

// undecided is the error of a lost answer: it says where the files are, and how to go on.
func (p *plan) undecided(err error) error {
	var paths []string
	for _, w := range p.result.Written {
		paths = append(paths, w.Path)
	}
	return fmt.Errorf("%w, as it no longer answers (%w); what was restored is kept: %s; when libvirt runs again, see whether virsh -c %s dominfo %q knows it: if it does, the VM is whole, else remove these files and restore again",
		ErrUndecided, err, strings.Join(paths, ", "), p.result.URI, p.name)
}
