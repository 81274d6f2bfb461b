package disk

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
)

// The formats, in QEMU's words.
const (
	rawFormat   = "raw"
	qcow2Format = "qcow2"
	qcowFormat  = "qcow"
	vmdkFormat  = "vmdk"
	vdiFormat   = "vdi"
	vhdxFormat  = "vhdx"
	vpcFormat   = "vpc"
)

// Formats are the formats that Options.Format may name.
var Formats = []string{qcow2Format, rawFormat, vmdkFormat, vdiFormat, vhdxFormat, vpcFormat, qcowFormat}

func known(format string) bool { return slices.Contains(Formats, format) }

func formatList() string { return strings.Join(Formats, ", ") }

// promised is what a suffix says of the format.
var promised = map[string][]string{
	".qcow2": {qcow2Format, qcowFormat}, ".qcow": {qcow2Format, qcowFormat}, ".qc2": {qcow2Format, qcowFormat},
	".vmdk": {vmdkFormat}, ".vdi": {vdiFormat}, ".vhdx": {vhdxFormat}, ".vhd": {vpcFormat}, ".vpc": {vpcFormat},
}

// A choice is the format that was found out, and what there is to say about that.
type choice struct {
	format, note string
	odd          bool // worth a warning
}

// chooseFormat tells the format of an image from its name and its header
// together. Its errors are what to say of the image, without its name.
func chooseFormat(f *file) (c choice, err error) {
	header, err := headerFormat(f, f.before.size)
	if err != nil {
		return c, err
	}
	suffix := suffixOf(f.path)
	switch want := promised[suffix]; {
	case want != nil && !slices.Contains(want, header):
		return c, fmt.Errorf("is called %s but has no %s header: %w; give --format", suffix, want[0], ErrFormat)
	case want != nil:
		return choice{format: header, note: "format found out from the name and the header"}, nil
	case suffix == ".raw" && header != "":
		return choice{rawFormat, fmt.Sprintf("taken as raw, as its name says, although it begins or ends like %s", header), true}, nil
	case suffix == ".raw":
		return choice{format: rawFormat, note: "taken as raw, as its name says"}, nil
	case header != "":
		return c, fmt.Errorf("looks like %s, and so can the raw disk of a guest that wants it to: %w; give --format %s or --format raw",
			header, ErrFormat, header)
	}
	switch other, err := unreadFormat(f, f.before.size); {
	case err != nil:
		return c, err
	case other == luks:
		return choice{format: rawFormat, note: "taken as raw: it is encrypted with LUKS and stays so"}, nil
	case other != "":
		return c, fmt.Errorf("looks like %s, which is not read: %w; make a qcow2 of it with qemu-img convert, or give --format raw", other, ErrFormat)
	}
	return choice{format: rawFormat, note: "taken as raw: it has no header of another format"}, nil
}

// headerFormat is the format that a file of that many bytes has the header of;
// "" is none.
func headerFormat(r io.ReaderAt, size int64) (string, error) {
	n := min(size, 512)
	head, tail := make([]byte, n), make([]byte, n)
	if _, err := r.ReadAt(head, 0); err != nil && !errors.Is(err, io.EOF) {
		return "", fmt.Errorf("cannot be read (%w)", err)
	}
	if _, err := r.ReadAt(tail, size-n); err != nil && !errors.Is(err, io.EOF) {
		return "", fmt.Errorf("cannot be read (%w)", err)
	}
	return identify(head, tail), nil
}

const luks = "luks"

// unread are the signatures at the start of images that QEMU reads and vaultfs
// does not (block/qed.h, parallels.c, cloop.c, bochs.c), and of LUKS.
var unread = []struct{ format, starts string }{
	{"qed", "QED\x00"},
	{"parallels", "WithoutFreeSpace"},
	{"parallels", "WithouFreSpacExt"},
	{"cloop", "#!/bin/sh\n#V2.0 Format\n"},
	{"bochs", "Bochs Virtual HD Image"},
	{luks, "LUKS\xba\xbe"},
}

// unreadFormat is the name in unread of what a file of that many bytes begins
// like; "" for none.
func unreadFormat(r io.ReaderAt, size int64) (string, error) {
	head := make([]byte, min(size, 32))
	if _, err := r.ReadAt(head, 0); err != nil && !errors.Is(err, io.EOF) {
		return "", fmt.Errorf("cannot be read (%w)", err)
	}
	for _, u := range unread {
		if bytes.HasPrefix(head, []byte(u.starts)) {
			return u.format, nil
		}
	}
	return "", nil
}

// identify looks for the signature of a format in the first and last 512 bytes.
func identify(head, tail []byte) string {
	starts := func(s string) bool { return bytes.HasPrefix(head, []byte(s)) }
	switch {
	case starts(qcowMagic) && len(head) >= 8 && binary.BigEndian.Uint32(head[4:]) == 1:
		return qcowFormat
	case starts(qcowMagic):
		return qcow2Format
	case starts(vmdkSparseMagic), starts(vmdkCOWMagic), starts(vmdkTextMagic):
		return vmdkFormat
	case starts("vhdxfile"):
		return vhdxFormat
	case len(head) >= 68 && binary.LittleEndian.Uint32(head[64:]) == 0xbeda107f:
		return vdiFormat
	case starts(vpcMagic), bytes.HasPrefix(tail, []byte(vpcMagic)):
		return vpcFormat
	}
	return ""
}
