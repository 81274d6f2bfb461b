package disk

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"vaultfs/internal/testrepo"
)

const descriptor = `# Disk DescriptorFile
version=1
CID=12345678
parentCID=ffffffff
createType="monolithicFlat"

# Extent description
%s

# The Disk Data Base
#DDB
ddb.adapterType = "ide"
`

// TestVMDKExtents: an extent is a plain file beside its descriptor.
func TestVMDKExtents(t *testing.T) {
	dir := chdir(t)
	r := testrepo.New(t)
	outside := write(t, filepath.Join(dir, "..", "outside.bin"), bytes.Repeat([]byte(secret), 50000))
	write(t, "e,x=1:.bin", guest(1, 1<<20))
	if err := os.Symlink(outside, "link.bin"); err != nil {
		t.Fatal(err)
	}
	for name, line := range map[string]string{
		"abs":       fmt.Sprintf(`RW 2048 FLAT "%s" 0`, outside),
		"passwd":    `RW 1 FLAT "/etc/passwd" 0`,
		"up":        `RW 2048 FLAT "../outside.bin" 0`,
		"link":      `RW 2048 FLAT "link.bin" 0`,
		"json":      `RW 2048 FLAT "json:{}" 0`,
		"nbd":       `RW 2048 FLAT "nbd://localhost/" 0`,
		"missing":   `RW 2048 FLAT "gone.bin" 0`,
		"zero":      `RW 2048 ZERO`,
		"readonly":  `RDONLY 2048 FLAT "e,x=1:.bin" 0`,
		"split":     "RW\n2048 FLAT \"/etc/passwd\" 0",
		"hidden":    "x RW 2048 FLAT \"/etc/passwd\" 0",
		"return":    "# c\rRW 2048 FLAT \"/etc/passwd\" 0",
		"nested":    `RW 2048 SPARSE "nested.bin"`,
		"none":      "",
		"parent":    "RW 2048 FLAT \"e,x=1:.bin\" 0\nparentFileNameHint=\"/etc/passwd\"",
		"hint":      "RW 2048 FLAT \"e,x=1:.bin\" 0\n# parentFileNameHint=\"/etc/passwd\"",
		"linked":    "RW 2048 FLAT \"e,x=1:.bin\" 0\nparentCID=00000001",
		"long name": `RW 2048 FLAT "` + strings.Repeat("x", 600) + `" 0`,
	} {
		write(t, name+".vmdk", fmt.Appendf(nil, descriptor, line))
		if name == "nested" {
			nested := make([]byte, 4096)
			copy(nested, vmdkSparseMagic+"\x01")
			binary.LittleEndian.PutUint64(nested[28:], 1)
			copy(nested[512:], fmt.Appendf(nil, descriptor, `RW 1 FLAT "/etc/passwd" 0`))
			write(t, "nested.bin", nested)
			write(t, "whole.vmdk", nested)
			mustFail(t, r, []string{"whole.vmdk"}, Options{})
		}
		err := mustFail(t, r, []string{name + ".vmdk"}, Options{})
		if !strings.Contains(err.Error(), name+".vmdk") {
			t.Errorf("%s: %v", name, err)
		}
		if name == "up" && !errors.Is(err, ErrOutside) {
			t.Error(err)
		}
	}
	for name, line := range map[string]string{
		"good": "RW 1024 FLAT \"e,x=1:.bin\" 0\nRW 1024 FLAT \"e,x=1:.bin\" 1024",
		"crlf": "RW 1024 FLAT \"e,x=1:.bin\" 0\r\nRW 1024 FLAT \"e,x=1:.bin\" 1024\r",
		"tabs": "RW\t2048  FLAT\t\"e,x=1:.bin\"\t0",
	} {
		write(t, name+".vmdk", fmt.Appendf(nil, descriptor, line))
		_, it := ingestOne(t, r, name+".vmdk", Options{})
		same(t, stored(t, r, it), read(t, "e,x=1:.bin"))
	}
	write(t, "trusted.vmdk", fmt.Appendf(nil, descriptor, fmt.Sprintf(`RW 2048 FLAT "%s" 0`, outside)))
	_, it := ingestOne(t, r, "trusted.vmdk", Options{AllowBacking: true})
	same(t, stored(t, r, it), read(t, outside)[:1<<20])

	// QEMU takes an extent line after an empty one twice.
	write(t, "twice.vmdk", fmt.Appendf(nil, descriptor, "\nRW 2048 FLAT \"e,x=1:.bin\" 0"))
	if err := mustFailLater(t, r, "twice.vmdk"); !strings.Contains(err.Error(), "add up to 1048576 bytes, and QEMU sees") {
		t.Error(err)
	}
}

// TestVMDKEmbedded: the names in an embedded descriptor are not opened, and an
// extent alone is no disk.
func TestVMDKEmbedded(t *testing.T) {
	chdir(t)
	r := testrepo.New(t)
	disk := guest(3, 2<<20)
	write(t, "source", disk)
	run(t, "qemu-img", "convert", "-f", "raw", "-O", "vmdk", "source", "was-called.vmdk")
	image := read(t, "was-called.vmdk")
	other := bytes.Replace(image, []byte(`"was-called.vmdk"`), []byte(`"/etc/passwd"    `), 1)
	write(t, "renamed.vmdk", other)
	_, it := ingestOne(t, r, "renamed.vmdk", Options{})
	same(t, stored(t, r, it), disk)

	r = testrepo.New(t)
	write(t, "child.vmdk", bytes.Replace(image, []byte("parentCID=ffffffff"), []byte("parentCID=fffffff1"), 1))
	if err := mustFail(t, r, []string{"child.vmdk"}, Options{}); !strings.Contains(err.Error(), "linked clone") {
		t.Error(err)
	}
	run(t, "qemu-img", "convert", "-f", "raw", "-O", "vmdk", "-o", "subformat=twoGbMaxExtentSparse", "source", "two.vmdk")
	if err := mustFail(t, r, []string{"two-s001.vmdk"}, Options{}); !strings.Contains(err.Error(), "descriptor") {
		t.Error(err)
	}
}

// FuzzVMDK: no panic, and what is found are names that a descriptor can hold.
func FuzzVMDK(f *testing.F) {
	f.Add(fmt.Appendf(nil, descriptor, `RW 2048 FLAT "a.bin" 0`))
	f.Add(fmt.Appendf(nil, descriptor, "RW 2048 SPARSE \"a\"\r\nRW 1 VMFS \"b\""))
	sparse := make([]byte, 512)
	copy(sparse, vmdkSparseMagic)
	sparse[12], sparse[28], sparse[36] = 1, 1, 1
	f.Add(append(sparse, fmt.Appendf(nil, strings.Replace(descriptor, "monolithicFlat", "monolithicSparse", 1), `RW 1 SPARSE "a"`)...))
	f.Add([]byte(vmdkCOWMagic))
	f.Fuzz(func(t *testing.T, p []byte) {
		d, _, err := readVMDK(bytes.NewReader(p), int64(len(p)))
		if err != nil {
			return
		}
		for _, e := range d.extents {
			if e.sectors <= 0 || e.name == "" || len(e.name) > 511 || strings.ContainsAny(e.name, "\"\r\n\x00") || !bytes.Contains(p, []byte(e.name)) {
				t.Fatalf("extent %+v", e)
			}
		}
		if d.size() <= 0 {
			t.Fatal(d.size())
		}
	})
}
