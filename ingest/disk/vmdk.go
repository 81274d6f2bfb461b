package disk

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// A vmdkDescriptor is the text that says what a VMDK disk is made of: comments,
// key=value lines, and one line an extent (VMware's Virtual Disk Format 5.0).
type vmdkDescriptor struct {
	createType string
	extents    []vmdkExtent
}

// A vmdkExtent is one file of a disk.
type vmdkExtent struct {
	sectors int64  // of the guest
	kind    string // FLAT, SPARSE, …
	name    string // as it stands there
	offset  int64  // of its data in the file, in sectors, if it is flat
}

const (
	vmdkSparseMagic = "KDMV" // little-endian 0x564d444b
	vmdkCOWMagic    = "COWD"
	vmdkTextMagic   = "# Disk DescriptorFile"

	maxDescriptor = 1<<20 - 1 // bytes that QEMU reads of one
	maxExtents    = 4096
	noParent      = "ffffffff"
)

// readVMDK reads the descriptor of a VMDK disk, and whether it stands inside
// of a sparse extent, which then is the whole disk. Its errors are what to say
// of the image, without its name.
func readVMDK(r io.ReaderAt, size int64) (d *vmdkDescriptor, embedded bool, err error) {
	h, err := readVMDKSparse(r)
	if err != nil {
		return nil, false, err
	}
	offset, length := uint64(0), uint64(size)
	if h != nil {
		offset, length = h.descriptorOffset, h.descriptorSize
		if offset == 0 || length == 0 || h.capacity == 0 {
			return nil, false, errExtent
		}
		if offset > uint64(size)/512 || length > maxDescriptor/512 {
			return nil, false, fmt.Errorf("is damaged (descriptor of %d sectors at sector %d)", length, offset)
		}
		offset, length = offset*512, length*512
	}
	if length > maxDescriptor {
		return nil, false, errors.New("has no vmdk header")
	}
	text := make([]byte, length)
	n, err := r.ReadAt(text, int64(offset))
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, false, fmt.Errorf("cannot be read (%w)", err)
	}
	if h != nil && n > 0 && text[0] == 0 {
		return nil, false, errExtent
	}
	if d, err = parseVMDK(text[:n]); err != nil {
		return nil, false, err
	}
	return d, h != nil, d.check(h != nil)
}

var errExtent = errors.New("is one extent of a disk: give the disk's descriptor file")

var (
	vmdkAssignment = regexp.MustCompile(`^([A-Za-z][A-Za-z0-9_.:]*)\s*=\s*(.*)$`)
	vmdkExtentLine = regexp.MustCompile(`^(RW|RDONLY|NOACCESS)\s+([0-9]{1,18})\s+([A-Z]{1,10})(?:\s+"([^"]{1,511})"(?:\s+([0-9]{1,18}))?)?$`)
)

// parseVMDK reads a descriptor. QEMU finds keys and extents anywhere in the
// text; here every line must be one of those that there are, so that QEMU
// cannot see an extent where none was seen.
func parseVMDK(text []byte) (*vmdkDescriptor, error) {
	text, _, _ = bytes.Cut(text, []byte{0})
	if !bytes.HasPrefix(text, []byte(vmdkTextMagic)) {
		return nil, errors.New("has no vmdk header")
	}
	d := &vmdkDescriptor{}
	for line := range bytes.Lines(text) {
		if err := d.line(strings.TrimSpace(string(line))); err != nil {
			return nil, err
		}
	}
	if bytes.Contains(bytes.ToLower(text), []byte("parentfilenamehint")) {
		return nil, errLinkedClone
	}
	return d, nil
}

var errLinkedClone = errors.New("is a linked clone or snapshot, which needs its parent: flatten it with qemu-img convert")

func (d *vmdkDescriptor) line(line string) error {
	if strings.ContainsFunc(line, func(r rune) bool { return r < ' ' && r != '\t' }) {
		return fmt.Errorf("is damaged (descriptor line %q)", shortened(line))
	}
	if line == "" || line[0] == '#' {
		return nil
	}
	if m := vmdkExtentLine.FindStringSubmatch(line); m != nil {
		return d.extent(m)
	}
	m := vmdkAssignment.FindStringSubmatch(line)
	if m == nil {
		return fmt.Errorf("is damaged (descriptor line %q)", shortened(line))
	}
	value := strings.Trim(m[2], `"`)
	switch strings.ToLower(m[1]) {
	case "createtype":
		if d.createType != "" {
			return errors.New("is damaged (createType given twice)")
		}
		d.createType = value
	case "parentcid":
		if !strings.EqualFold(value, noParent) {
			return errLinkedClone
		}
	}
	return nil
}

// extent takes an extent line apart: access, sectors, kind, name, offset.
func (d *vmdkDescriptor) extent(m []string) error {
	sectors, err := strconv.ParseInt(m[2], 10, 64)
	flat := m[3] == "FLAT"
	kinds := []string{"FLAT", "SPARSE", "VMFS", "VMFSSPARSE", "SESPARSE"}
	if err != nil || sectors == 0 || m[1] != "RW" || m[4] == "" || flat != (m[5] != "") || !slices.Contains(kinds, m[3]) {
		return fmt.Errorf("has an extent that QEMU does not read: %q", shortened(m[0]))
	}
	if len(d.extents) == maxExtents {
		return fmt.Errorf("has more than %d extents", maxExtents)
	}
	offset := int64(0)
	if m[5] != "" {
		if offset, err = strconv.ParseInt(m[5], 10, 64); err != nil {
			return fmt.Errorf("has an extent at sector %s", m[5])
		}
	}
	d.extents = append(d.extents, vmdkExtent{sectors, m[3], m[4], offset})
	return nil
}

// checkFile compares an extent with its file, which has size bytes.
func (e *vmdkExtent) checkFile(r io.ReaderAt, size uint64) error {
	switch e.kind {
	case "FLAT", "VMFS":
		if sectors := uint64(e.offset + e.sectors); sectors > size/vmdkSector {
			return cutOff("file", size, sectors*vmdkSector)
		}
	case "SPARSE", "VMFSSPARSE":
		return checkSparse(r, size)
	}
	return nil
}

// check compares the descriptor with where it stands.
func (d *vmdkDescriptor) check(embedded bool) error {
	whole := d.createType == "monolithicSparse" || d.createType == "streamOptimized"
	switch {
	case embedded && !whole, embedded && len(d.extents) != 1, !embedded && whole:
		return fmt.Errorf("is damaged (a descriptor of type %q with %d extents in the wrong place)", shortened(d.createType), len(d.extents))
	case len(d.extents) == 0:
		return errors.New("is damaged (its descriptor names no extent)")
	}
	return nil
}

// size is the guest's bytes.
func (d *vmdkDescriptor) size() (n int64) {
	for _, e := range d.extents {
		n += min(e.sectors, 1<<40) * 512
	}
	return n
}

// shortened is what fits into an error.
func shortened(s string) string {
	const most = 80
	if len(s) > most {
		return s[:most] + "…"
	}
	return s
}
