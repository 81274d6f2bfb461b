package vm

import (
	"errors"
	"io/fs"
	"strings"

	"libvirt.org/go/libvirtxml"
)

// addNVRAM keeps the file in which the firmware has its variables: boot entries, secure boot's keys.
func (m *machine) addNVRAM(x *libvirtxml.Domain, runs bool) {
	if x.OS == nil || x.OS.NVRam == nil {
		return
	}
	path, kind := nvramPath(x.OS.NVRam)
	if path == "" {
		if kind == "" {
			m.note("no firmware variables (NVRAM) are kept: libvirt makes their file when the VM is first started")
		} else {
			m.warn(x.Name, "its firmware variables (NVRAM) are on a %s source, which is not read: they are not in the backup, and a restored VM begins with fresh ones", kind)
		}
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

// nvramPath is the file that holds the variables, or the kind of source that is no file.
func nvramPath(n *libvirtxml.DomainNVRam) (path, kind string) {
	if n.Source == nil {
		return strings.TrimSpace(n.NVRam), ""
	}
	if kind := sourceKind(n.Source); kind != "file" {
		return "", kind
	}
	return n.Source.File.File, ""
}
