package vm

import (
	"fmt"
	"os"
	"strings"

	"github.com/beevik/etree"
	"libvirt.org/go/libvirt"

	"vaultfs/internal/virt"
)

// planLeftOut deals with a disk that the snapshot does not hold: a CD-ROM, or one that was passed through, read-only
// or transient. What it was made of may be on this host, or not.
func (p *plan) planLeftOut(e *etree.Element, target string) {
	source := e.SelectElement("source")
	if source == nil {
		return // an empty drive
	}
	what, there := p.sourceExists(e, source)
	switch device := e.SelectAttrValue("device", "disk"); {
	case there:
		p.note("disk %s: %s is not in the snapshot, and used as it is on this host", target, what)
	case device == "cdrom" || device == "floppy":
		removeAll(e, "source", "backingStore", "auth", "encryption")
		e.CreateAttr("type", "file")
		p.change("disk %s: an empty drive, as %s is not on this host", target, what)
	default:
		remove(e)
		p.warn("disk %s is left out: %s is neither in the snapshot nor on this host", target, what)
	}
}

// sourceExists names the source of a disk, and tells whether this host has it. What cannot be told is taken to be there:
// libvirt says so at the start if it is not.
func (p *plan) sourceExists(e, source *etree.Element) (what string, there bool) {
	switch kind := e.SelectAttrValue("type", "file"); kind {
	case "file", "block", "dir", "vhostuser", "vhostvdpa":
		path := firstAttr(source, "file", "dev", "dir", "path")
		_, err := os.Stat(path)
		return path, path != "" && err == nil
	case "volume":
		pool, volume := source.SelectAttrValue("pool", ""), source.SelectAttrValue("volume", "")
		return fmt.Sprintf("volume %s of pool %s", volume, pool), p.volumeExists(pool, volume)
	case "nvme":
		at := pciAddress(source.SelectElement("address").NotNil())
		_, err := os.Stat("/sys/bus/pci/devices/" + at)
		return "the NVMe device " + at, err == nil
	default:
		return fmt.Sprintf("its %s source %s", kind, source.SelectAttrValue("name", "")), true
	}
}

func firstAttr(e *etree.Element, names ...string) string {
	for _, name := range names {
		if v := e.SelectAttrValue(name, ""); v != "" {
			return v
		}
	}
	return ""
}

// pciAddress is the address as sysfs writes it: 0000:01:00.0.
func pciAddress(e *etree.Element) string {
	part := func(name string) int64 {
		var n int64
		_, _ = fmt.Sscanf(strings.TrimPrefix(e.SelectAttrValue(name, "0"), "0x"), "%x", &n) // else it is 0
		return n
	}
	return fmt.Sprintf("%04x:%02x:%02x.%x", part("domain"), part("bus"), part("slot"), part("function"))
}

func (p *plan) volumeExists(pool, volume string) bool {
	of, err := p.host.Conn.LookupStoragePoolByName(pool)
	if err != nil {
		return !virt.IsCode(err, libvirt.ERR_NO_STORAGE_POOL)
	}
	defer of.Free()
	v, err := of.LookupStorageVolByName(volume)
	if err != nil {
		return !virt.IsCode(err, libvirt.ERR_NO_STORAGE_VOL)
	}
	return v.Free() == nil
}
