package vm

import (
	"fmt"
	"strings"

	"github.com/beevik/etree"
	"libvirt.org/go/libvirt"

	"vaultfs/internal/virt"
)

// taken is what the host's domains have already, each with the name of one that has it.
type taken struct {
	macs    map[string]string // in lower case
	paths   map[string]string // of disks, NVRAM, logs, sockets; and the names of disks that have none
	devices map[string]string // of the host, passed through
	// imageDirs are the directories of images that they write to.
	imageDirs map[string]bool
}

// survey asks for the definitions of all domains, and for what those that run have now.
func survey(h *virt.Host) (*taken, error) {
	t := &taken{macs: map[string]string{}, paths: map[string]string{}, devices: map[string]string{}, imageDirs: map[string]bool{}}
	err := h.Each(func(d *libvirt.Domain) error {
		name, err := d.GetName()
		if err == nil {
			err = t.addDomain(name, d)
		}
		if virt.IsCode(err, libvirt.ERR_NO_DOMAIN) {
			return nil // it has gone since they were listed
		}
		if err != nil {
			return fmt.Errorf("VM %q, whose definition must not clash with the restored one: %w", name, virt.Sentence(err))
		}
		return nil
	})
	return t, err
}

func (t *taken) addDomain(name string, d *libvirt.Domain) error {
	for _, flags := range []libvirt.DomainXMLFlags{0, libvirt.DOMAIN_XML_INACTIVE} {
		text, err := d.GetXMLDesc(flags)
		if err != nil {
			return err
		}
		doc := etree.NewDocument()
		if err := doc.ReadFromString(text); err != nil {
			return err
		}
		t.add(name, doc.Root())
	}
	return nil
}

// add notes the MAC addresses, paths and devices of one definition.
func (t *taken) add(name string, domain *etree.Element) {
	for _, mac := range domain.FindElements("./devices/interface/mac") {
		t.macs[strings.ToLower(mac.SelectAttrValue("address", ""))] = name
	}
	for _, source := range domain.FindElements(".//source") {
		for _, attribute := range []string{"file", "dev", "path"} {
			if path := source.SelectAttrValue(attribute, ""); path != "" {
				t.paths[path] = name
			}
		}
	}
	for _, disk := range devices(domain, "disk") {
		if what := sourceName(disk, disk.SelectElement("source").NotNil()); what != "" {
			t.paths[what] = name
		}
		t.addImageDir(disk)
	}
	for _, e := range append(devices(domain, "hostdev"), devices(domain, "interface")...) {
		for _, d := range hostDevices(e) {
			t.devices[d.name] = name
		}
	}
	for _, nvram := range domain.FindElements("./os/nvram") {
		if path := strings.TrimSpace(nvram.Text()); path != "" {
			t.paths[path] = name
		}
	}
}
