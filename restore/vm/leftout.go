package vm

import (
	"fmt"
	"os"
	"strings"

	"github.com/beevik/etree"
	"libvirt.org/go/libvirt"

	"vaultfs/internal/virt"
)

// planLeftOut deals with a disk that the snapshot does not hold: a CD-ROM, or one that was passed through, read-only,
// transient, or plugged in after the backup. What it was made of may be on this host, or not; and if it is, the guest
// that was backed up, or another one, may be writing to it. So only what the guest cannot write to is kept.
func (p *plan) planLeftOut(e *etree.Element, target string) {
	source := e.SelectElement("source")
	if source == nil {
		return // an empty drive
	}
	device, what := e.SelectAttrValue("device", "disk"), sourceName(e, source)
	drive := device == "cdrom" || device == "floppy"
	owner, there := p.taken.paths[what], p.sourceExists(e, source)
	// SCSI commands reach a LUN even if it is read-only.
	harmless := device == "cdrom" || e.SelectElement("readonly") != nil && device != "lun" || drive && owner == ""
	switch {
	case there && harmless:
		p.note("disk %s: %s is not in the snapshot, and used as it is on this host", target, what)
	case drive:
		removeAll(e, "source", "backingStore", "auth", "encryption")
		e.CreateAttr("type", "file")
		reason := "is not on this host"
		if there {
			reason = fmt.Sprintf("is in the definition of VM %q", owner)
		}
		p.change("disk %s: an empty drive, as %s %s", target, what, reason)
	case !there:
		remove(e)
		p.warn("disk %s is left out: %s is neither in the snapshot nor on this host", target, what)
	case owner != "":
		remove(e)
		p.warn("disk %s is left out: %s is not in the snapshot, and VM %q has it: two that write to one disk destroy it", target, what, owner)
	default:
		remove(e)
		p.warn("disk %s is left out: %s is not in the snapshot, and the VM that was backed up may still write to it: attach it with virsh attach-disk if nothing else does", target, what)
	}
}

// sourceName names the source of a disk: a path, or what else libvirt knows it by. It is the same for all disks of one
// source.
func sourceName(e, source *etree.Element) string {
	switch kind := e.SelectAttrValue("type", "file"); kind {
	case "file", "block", "dir", "vhostuser", "vhostvdpa":
		return firstAttr(source, "file", "dev", "dir", "path")
	case "volume":
		return fmt.Sprintf("volume %s of pool %s", source.SelectAttrValue("volume", ""), source.SelectAttrValue("pool", ""))
	case "nvme":
		return "the NVMe device " + pciAddress(source.SelectElement("address").NotNil())
	default:
		return fmt.Sprintf("its %s source %s", strings.TrimSpace(kind+" "+source.SelectAttrValue("protocol", "")), source.SelectAttrValue("name", ""))
	}
}

// sourceExists tells whether this host has the source of a disk. What cannot be told is taken to be there: libvirt says
// so at the start if it is not.
func (p *plan) sourceExists(e, source *etree.Element) bool {
	switch e.SelectAttrValue("type", "file") {
	case "file", "block", "dir", "vhostuser", "vhostvdpa":
		_, err := os.Stat(sourceName(e, source))
		return err == nil
	case "volume":
		return p.volumeExists(source.SelectAttrValue("pool", ""), source.SelectAttrValue("volume", ""))
	case "nvme":
		return !missing("/sys/bus/pci/devices/" + pciAddress(source.SelectElement("address").NotNil()))
	}
	return true
}

func firstAttr(e *etree.Element, names ...string) string {
	for _, name := range names {
		if v := e.SelectAttrValue(name, ""); v != "" {
			return v
		}
	}
	return ""
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
