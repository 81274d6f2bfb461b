package vm

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"strings"

	"libvirt.org/go/libvirtxml"
)

// systemNVRAMDir is where the system's libvirt makes the files of firmware variables.
const systemNVRAMDir = "/var/lib/libvirt/qemu/nvram"

// addNVRAM keeps the file in which the firmware has its variables: boot entries, secure boot's keys.
func (m *machine) addNVRAM(x *libvirtxml.Domain, uri string, runs bool) {
	if !hasNVRAM(x.OS) {
		return
	}
	path, err := nvramPath(x, uri)
	if err != nil {
		m.warn(x.Name, "its firmware variables (NVRAM) are not in the backup, and a restored VM begins with fresh ones: %v", err)
		return
	}
	var content []byte
	steady, err := steadily(func() (stamp, error) { return fileStamp(path) }, func() (err error) {
		content, err = readLimited(path)
		return err
	})
	switch {
	case errors.Is(err, fs.ErrNotExist) && !runs:
		m.note("no firmware variables (NVRAM) are kept: %s does not exist, libvirt makes it when the VM is next started", path)
	case errors.Is(err, fs.ErrPermission):
		m.warn(x.Name, "its firmware variables (NVRAM) are not in the backup: reading %s is not allowed, run as root", path)
	case err != nil:
		m.warn(x.Name, "its firmware variables (NVRAM) are not in the backup: reading %s: %v", path, err)
	default:
		m.add(nvramItem, content)
		if !steady {
			m.warn(x.Name, "its firmware wrote to %s all the while it was read: the variables in the backup may be of no one moment, back it up again", path)
		}
	}
}

// hasNVRAM tells whether the firmware keeps variables: they are stated, or libvirt chooses an UEFI firmware.
func hasNVRAM(o *libvirtxml.DomainOS) bool {
	if o == nil || (o.Loader != nil && o.Loader.Stateless == "yes") {
		return false
	}
	return o.NVRam != nil || o.Firmware == "efi"
}

// nvramPath is the file that holds the variables. Where the definition leaves it to libvirt, which then states it of a
// running domain only, it is named after the domain (qemuDomainNVRAMPathFormat in libvirt's qemu_domain.c).
func nvramPath(x *libvirtxml.Domain, uri string) (string, error) {
	if n := x.OS.NVRam; n != nil && n.Source != nil {
		if kind := sourceKind(n.Source); kind != "file" {
			return "", fmt.Errorf("a %s source of them is not read", kind)
		}
		return n.Source.File.File, nil
	} else if n != nil && strings.TrimSpace(n.NVRam) != "" {
		return strings.TrimSpace(n.NVRam), nil
	}
	dir, err := stateDir(uri, systemNVRAMDir, "nvram")
	return filepath.Join(dir, x.Name+"_VARS.fd"), err
}
