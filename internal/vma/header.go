package vma

import (
	"crypto/md5"
	"encoding/binary"
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// A Header is what stands at the beginning of an archive: the guest's
// configuration and the list of its drives.
type Header struct {
	UUID    [16]byte // of the archive, not of the guest
	Created int64    // Unix seconds
	Configs []Config
	Drives  []Drive // in the order of their IDs
}

// A Config is a configuration file: "qemu-server.conf", "qemu-server.fw".
type Config struct {
	Name string
	Data []byte // at most 65535 bytes
}

// A Drive is one disk of the guest.
type Drive struct {
	ID   uint8  // the slot in the header's table, 1 to 254
	Name string // "drive-scsi0"
	Size int64  // bytes, a multiple of 512
}

// clusters is how many clusters the archive lists of the drive. The last may
// reach beyond its end.
func (d *Drive) clusters() int64 { return (d.Size + clusterSize - 1) / clusterSize }

// String names the drive in errors.
func (d *Drive) String() string { return fmt.Sprintf("drive %s (device %d)", d.Name, d.ID) }

// maxNameLen bounds a name, in bytes: what a file system takes.
const maxNameLen = 255

// vmState is the name of a drive that is the guest's RAM.
const vmState = "vmstate"

// Validate tells what no archive may have: names that are not plain file names
// or that come twice, drives of a size that cannot be.
//
// Names become the names of files. One that is empty, "." or "..", that holds a
// slash or anything that cannot be printed, or that is longer than 255 bytes is
// refused, not changed: Proxmox makes none such. A drive vmstate is refused as
// well: it is RAM without a binding size, and vzdump writes none.
func (h *Header) Validate() error {
	if len(h.Configs) > maxConfigs || len(h.Drives) > lastDrive {
		return fmt.Errorf("%d configuration files and %d drives: an archive holds at most %d and %d",
			len(h.Configs), len(h.Drives), maxConfigs, lastDrive)
	}
	configs, drives := map[string]int{}, map[string]uint8{}
	for i, c := range h.Configs {
		if why := unfit(c.Name); why != "" {
			return fmt.Errorf("the name %q of configuration file %d %s: it is no plain file name", c.Name, i, why)
		}
		if first, ok := configs[c.Name]; ok {
			return fmt.Errorf("configuration files %d and %d are both called %q", first, i, c.Name)
		}
		if len(c.Data) > maxBlob {
			return fmt.Errorf("configuration file %q has %d bytes: an archive holds at most %d of one", c.Name, len(c.Data), maxBlob)
		}
		configs[c.Name] = i
	}
	last := uint8(0)
	for _, d := range h.Drives {
		if err := d.validate(); err != nil {
			return err
		}
		if first, ok := drives[d.Name]; ok {
			return fmt.Errorf("devices %d and %d are both called %q", first, d.ID, d.Name)
		}
		if d.ID <= last {
			return fmt.Errorf("device %d (%q) comes after device %d", d.ID, d.Name, last)
		}
		drives[d.Name], last = d.ID, d.ID
	}
	return nil
}

func (d *Drive) validate() error {
	why := unfit(d.Name)
	switch {
	case d.ID < firstDrive || d.ID > lastDrive:
		return fmt.Errorf("device %d (%q): devices are numbered %d to %d", d.ID, d.Name, firstDrive, lastDrive)
	case why != "":
		return fmt.Errorf("the name %q of device %d %s: it is no plain file name", d.Name, d.ID, why)
	case d.Name == vmState:
		return fmt.Errorf("device %d is called %q: it is RAM of a guest, not a disk; archives made by vzdump hold none, and it is not supported", d.ID, d.Name)
	case d.Size <= 0 || d.Size%sectorSize != 0:
		return fmt.Errorf("%v has a size of %d bytes: that is no multiple of %d", d, d.Size, sectorSize)
	case d.Size > maxDriveSize:
		return fmt.Errorf("%v has a size of %d bytes: an archive holds at most %d of one drive, so clusters must be missing", d, d.Size, int64(maxDriveSize))
	}
	return nil
}

// unfit says why a name is no plain file name; "" when it is.
func unfit(name string) string {
	switch {
	case name == "":
		return "is empty"
	case name == "." || name == "..":
		return "means a directory"
	case len(name) > maxNameLen:
		return fmt.Sprintf("has %d bytes", len(name))
	case strings.Contains(name, "/"):
		return "holds a slash"
	case !utf8.ValidString(name) || strings.ContainsFunc(name, func(r rune) bool { return !unicode.IsPrint(r) }):
		return "holds what cannot be printed"
	}
	return ""
}

// encode makes the header byte for byte as Proxmox's own writer does: blobs in
// the order name, data, name, data… of the configs, then the names of the
// drives, in a buffer that grows by whole sectors of what a blob needs.
func (h *Header) encode() ([]byte, error) {
	if err := h.Validate(); err != nil {
		return nil, err
	}
	b, be := make([]byte, fixedHeaderSize+1), binary.BigEndian
	room := 0 // of the buffer
	blob := func(p []byte) uint32 {
		at := len(b) - fixedHeaderSize
		for at+2+len(p) > room {
			room += (2 + len(p) + sectorSize - 1) / sectorSize * sectorSize
		}
		b = append(binary.LittleEndian.AppendUint16(b, uint16(len(p))), p...)
		return uint32(at)
	}
	name := func(s string) uint32 { return blob(append([]byte(s), 0)) }
	for i, c := range h.Configs {
		at := name(c.Name)
		be.PutUint32(b[atConfigNames+4*i:], at)
		at = blob(c.Data)
		be.PutUint32(b[atConfigData+4*i:], at)
	}
	for _, d := range h.Drives {
		at, entry := name(d.Name), atDrives+driveEntrySize*int(d.ID)
		be.PutUint32(b[entry:], at)
		be.PutUint64(b[entry+atDriveSize:], uint64(d.Size))
	}
	copy(b, headerMagic)
	be.PutUint32(b[atVersion:], version)
	copy(b[atUUID:], h.UUID[:])
	be.PutUint64(b[atCreated:], uint64(h.Created))
	be.PutUint32(b[atBlobs:], fixedHeaderSize)
	be.PutUint32(b[atBlobsSize:], uint32(len(b)-fixedHeaderSize))
	size := fixedHeaderSize + max(room, sectorSize)
	if size > maxHeaderSize {
		return nil, fmt.Errorf("the archive's header would have %d bytes, more than %d", size, maxHeaderSize)
	}
	b = append(b, make([]byte, size-len(b))...)
	be.PutUint32(b[atHeaderSize:], uint32(size))
	sum := md5.Sum(b)
	copy(b[atHeaderSum:], sum[:])
	return b, nil
}
