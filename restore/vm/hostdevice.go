package vm

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/beevik/etree"
)

// hostDevice is a device of the host that a definition passes through to the guest.
type hostDevice struct {
	name string // "PCI device 0000:3b:00.0"
	here bool   // this host has it
}

// hostDevices are the devices that an element passes through: one, or none if it is of a kind whose device has no plain
// address. A USB device that is given both by its model and by where it is plugged in is there twice.
func hostDevices(e *etree.Element) []hostDevice {
	source := e.SelectElement("source").NotNil()
	address := source.SelectElement("address").NotNil()
	kind := e.SelectAttrValue("type", "")
	if e.Tag == "interface" {
		if kind != "hostdev" {
			return nil
		}
		kind = address.SelectAttrValue("type", "pci")
	}
	switch kind {
	case "pci":
		at := pciAddress(address)
		return []hostDevice{{"PCI device " + at, !missing("/sys/bus/pci/devices/" + at)}}
	case "mdev":
		uuid := strings.ToLower(address.SelectAttrValue("uuid", ""))
		return []hostDevice{{"mediated device " + uuid, !missing("/sys/bus/mdev/devices/" + filepath.Base(uuid))}}
	case "scsi":
		return scsiDevices(source)
	case "scsi_host":
		wwpn := source.SelectAttrValue("wwpn", "")
		return []hostDevice{{"SCSI host " + wwpn, !missing("/sys/kernel/config/target/vhost/" + filepath.Base(wwpn))}}
	case "usb":
		return usbDevices(source)
	}
	return nil
}

// scsiDevices is the device at an adapter of this host; one of iSCSI has no adapter.
func scsiDevices(source *etree.Element) []hostDevice {
	var host int
	if _, err := fmt.Sscanf(attr(source, "adapter", "name"), "scsi_host%d", &host); err != nil {
		return nil
	}
	address := source.SelectElement("address").NotNil()
	at := fmt.Sprintf("%d:%d:%d:%d", host, number(address, "bus", "%v"), number(address, "target", "%v"), number(address, "unit", "%v"))
	return []hostDevice{{"SCSI device " + at, !missing("/sys/bus/scsi/devices/" + at)}}
}

func usbDevices(source *etree.Element) (all []hostDevice) {
	if vendor := source.SelectElement("vendor"); vendor != nil {
		product := source.SelectElement("product").NotNil()
		model := fmt.Sprintf("%04x:%04x", number(vendor, "id", "%v"), number(product, "id", "%v"))
		all = append(all, hostDevice{"USB device " + model, usbHas("idVendor", "idProduct", model)})
	}
	if address := source.SelectElement("address"); address != nil {
		port := fmt.Sprintf("%d:%d", number(address, "bus", "%v"), number(address, "device", "%v"))
		all = append(all, hostDevice{"USB device at bus and number " + port, usbHas("busnum", "devnum", port)})
	}
	return all
}

// usbHas reports whether sysfs shows a USB device whose two properties are those of "a:b".
func usbHas(first, second, pair string) bool {
	dirs, _ := filepath.Glob("/sys/bus/usb/devices/*")
	for _, dir := range dirs {
		a, _ := os.ReadFile(filepath.Join(dir, first))
		b, _ := os.ReadFile(filepath.Join(dir, second))
		if strings.TrimSpace(string(a))+":"+strings.TrimSpace(string(b)) == pair {
			return true
		}
	}
	return false
}

// pciAddress is the address as sysfs writes it: 0000:01:00.0.
func pciAddress(e *etree.Element) string {
	return fmt.Sprintf("%04x:%02x:%02x.%x", number(e, "domain", "%x"), number(e, "bus", "%x"), number(e, "slot", "%x"), number(e, "function", "%x"))
}

// number is an attribute, 0 if it is none. The form is %x where libvirt writes hexadecimal digits with or without 0x,
// and %v where it writes 0x before them.
func number(e *etree.Element, name, form string) (n int64) {
	text := e.SelectAttrValue(name, "0")
	if form == "%x" {
		text = strings.TrimPrefix(text, "0x")
	}
	_, _ = fmt.Sscanf(text, form, &n) // else it is 0
	return n
}

// planHostDevices takes the devices out that this host does not have, and those that another domain is to have: who
// starts first would take it from the other. The rest are kept and warned of, for it is the snapshot that asks for them.
func (p *plan) planHostDevices() {
	for _, e := range append(devices(p.domain, "hostdev"), devices(p.domain, "interface")...) {
		all := hostDevices(e)
		keep := true
		for _, d := range all {
			if owner := p.taken.devices[d.name]; owner != "" {
				p.warn("the %s is left out: VM %q has it", d.name, owner)
				keep = false
			} else if !d.here {
				p.warn("the %s is left out: it is not on this host", d.name)
				keep = false
			}
			if !keep {
				remove(e)
				break
			}
		}
		switch {
		case !keep:
		case len(all) > 0:
			p.warn("the snapshot's definition gives it the %s of this host: take it out with virsh edit if that is not meant", all[0].name)
		case e.Tag == "hostdev":
			p.warn("the snapshot's definition gives it a %s device of this host: look with virsh edit whether that is meant", e.SelectAttrValue("type", "host"))
		}
	}
}
