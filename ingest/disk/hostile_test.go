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

// patched copies an image with other bytes at an offset.
func patched(t *testing.T, from, to string, off int, p []byte) string {
	t.Helper()
	image := read(t, from)
	copy(image[off:], p)
	return write(t, to, image)
}

// withBacking makes a qcow2 whose header names a backing file of any name.
func withBacking(t *testing.T, path, name, format string) string {
	t.Helper()
	create(t, path, "qcow2", "1M", "-o", "cluster_size=64k")
	image := read(t, path)
	ext := binary.BigEndian.AppendUint32(nil, extBackingFormat)
	ext = binary.BigEndian.AppendUint32(ext, uint32(len(format)))
	ext = append(append(ext, format...), make([]byte, 8-len(format)%8)...)
	at := int(binary.BigEndian.Uint32(image[100:]))
	if format != "" {
		at += copy(image[at:], ext[:8+(len(format)+7)/8*8])
	}
	at += copy(image[at:], make([]byte, 8))
	binary.BigEndian.PutUint64(image[8:], uint64(at))
	binary.BigEndian.PutUint32(image[16:], uint32(len(name)))
	copy(image[at:], name)
	return write(t, path, image)
}

const secret = "a secret that is none of the disk's business"

// TestNamesOutside: whatever an image names, no file but those beside it is
// read, and nothing but files even with AllowBacking.
func TestNamesOutside(t *testing.T) {
	dir := chdir(t)
	r := testrepo.New(t)
	write(t, filepath.Join(dir, "..", "secret.raw"), bytes.Repeat([]byte(secret), 50000))
	outside := filepath.Join(filepath.Dir(dir), "secret.raw")
	if err := os.Symlink(outside, "link.raw"); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir("sub", 0o700); err != nil {
		t.Fatal(err)
	}
	never := []string{
		"json:{\"driver\":\"file\",\"filename\":\"" + outside + "\"}", "json:{}", "nbd:localhost:10809", "nbd://localhost/x",
		"nbd+unix:///x?socket=/s", "file:secret.raw", "file:" + outside, "fat:/", "FILE:x", "http://localhost/x", "vxz://x", "ssh:x", "sub", "",
	}
	elsewhere := []string{"/etc/passwd", outside, "../secret.raw", "sub/../../secret.raw", "./x.raw", "..", ".", "link.raw"}
	for i, name := range append(never, elsewhere...) {
		if name == "" {
			continue
		}
		path := withBacking(t, fmt.Sprintf("b%d.qcow2", i), name, "raw")
		for _, anywhere := range []bool{false, true} {
			if anywhere && i >= len(never) {
				continue
			}
			err := mustFail(t, r, []string{path}, Options{AllowBacking: anywhere})
			if !strings.Contains(err.Error(), path) || strings.Contains(err.Error(), "\n") {
				t.Errorf("backing file %q: %v", name, err)
			}
		}
	}
	outsideErr := mustFail(t, r, []string{withBacking(t, "p.qcow2", "/etc/passwd", "raw")}, Options{})
	if !errors.Is(outsideErr, ErrOutside) || !strings.Contains(outsideErr.Error(), `its backing file is "/etc/passwd"; give --allow-backing`) {
		t.Error(outsideErr)
	}
	missing := mustFail(t, r, []string{withBacking(t, "m.qcow2", "gone.raw", "raw")}, Options{})
	if s := missing.Error(); !strings.Contains(s, "m.qcow2") || !strings.Contains(s, "gone.raw") || !strings.Contains(s, "does not exist") {
		t.Error(missing)
	}
	if err := mustFail(t, r, []string{withBacking(t, "l.qcow2", "l.qcow2", "qcow2")}, Options{}); !strings.Contains(err.Error(), "above it") {
		t.Error(err)
	}
	if err := mustFail(t, r, []string{withBacking(t, "f.qcow2", "x,driver=raw", "raw,x=")}, Options{}); !strings.Contains(err.Error(), "does not exist") {
		t.Error(err)
	}
	_, it := ingestOne(t, r, withBacking(t, "trusted.qcow2", outside, "raw"), Options{AllowBacking: true})
	same(t, stored(t, r, it), converted(t, "qcow2", "trusted.qcow2"))
}

// TestLongChain: a chain has an end.
func TestLongChain(t *testing.T) {
	chdir(t)
	create(t, "0.qcow2", "qcow2", "1M")
	for i := range maxLayers {
		withBacking(t, fmt.Sprintf("%d.qcow2", i+1), fmt.Sprintf("%d.qcow2", i), "qcow2")
	}
	if err := mustFail(t, testrepo.New(t), []string{fmt.Sprintf("%d.qcow2", maxLayers)}, Options{}); !strings.Contains(err.Error(), "more than 64") {
		t.Error(err)
	}
}

// TestOddNames: what is a plain file is read, whatever its name looks like.
func TestOddNames(t *testing.T) {
	chdir(t)
	r := testrepo.New(t)
	disk := guest(5, 1<<20)
	for i, name := range []string{"vm-T18:00.raw", "a,b=c.raw", "-n.raw", "new\nline.raw", "b\xff\xfe.raw", "x,file.driver=nbd.raw", "json:{}.raw", "%s.raw", "ü.raw"} {
		write(t, name, disk)
		_, it := ingestOne(t, r, "./"+name, Options{Name: fmt.Sprint("raw", i)})
		same(t, stored(t, r, it), disk)
		top := strings.TrimSuffix(name, ".raw") + ".qcow2"
		run(t, "qemu-img", "convert", "-O", "qcow2", "--image-opts", "driver=raw,file.driver=file,file.filename="+strings.ReplaceAll(name, ",", ",,"), "tmp")
		if err := os.Rename("tmp", top); err != nil {
			t.Fatal(err)
		}
		_, it = ingestOne(t, r, top, Options{Name: fmt.Sprint("qcow2", i)})
		same(t, stored(t, r, it), disk)
		if name == "json:{}.raw" {
			continue
		}
		if err := os.Rename(withBacking(t, "tmp", name, "raw"), top); err != nil {
			t.Fatal(err)
		}
		_, it = ingestOne(t, r, top, Options{Name: fmt.Sprint("chain", i)})
		same(t, stored(t, r, it), disk)
	}
	for name, want := range map[string]string{"new\nline.raw": "disk/new%0Aline", "b\xff\xfe.raw": "disk/b%FF%FE", "ü.raw": "disk/ü", "a,b=c.raw": "disk/a,b=c"} {
		if s, it := ingestOne(t, r, name, Options{}); s.Source != want || "disk/"+it.Name != want || strings.Contains(it.Path, "\n") || strings.Contains(it.Path, "\xff") {
			t.Errorf("%q: source %q, item %+v", name, s.Source, it)
		}
	}
}

// TestFormatIsNeverGuessed: a header in a raw disk is a guest's bytes.
func TestFormatIsNeverGuessed(t *testing.T) {
	chdir(t)
	r := testrepo.New(t)
	withBacking(t, "evil", "/etc/passwd", "raw")
	evil := read(t, "evil")
	for _, name := range []string{"evil", "evil.img", "evil.bin", "x.iso"} {
		write(t, name, evil)
		err := mustFail(t, r, []string{name}, Options{})
		if !errors.Is(err, ErrFormat) || !strings.Contains(err.Error(), "--format qcow2 or --format raw") {
			t.Errorf("%s: %v", name, err)
		}
	}
	for _, f := range []struct{ format, options string }{{"vmdk", ""}, {"vmdk", "subformat=monolithicFlat"}, {"vdi", ""}, {"vhdx", ""}, {"vpc", ""}, {"vpc", "subformat=fixed"}, {"qcow", ""}} {
		options := []string{"-o", f.options}
		if f.options == "" {
			options = nil
		}
		create(t, "other.img", f.format, "1M", options...)
		if err := mustFail(t, r, []string{"other.img"}, Options{}); !errors.Is(err, ErrFormat) || !strings.Contains(err.Error(), "--format "+f.format+" ") {
			t.Errorf("%s: %v", f.format, err)
		}
	}
	for _, suffix := range []string{".qcow2", ".vmdk", ".vdi", ".vhdx", ".vhd"} {
		write(t, "plain"+suffix, guest(1, 70000))
		if err := mustFail(t, r, []string{"plain" + suffix}, Options{}); !errors.Is(err, ErrFormat) {
			t.Errorf("%s: %v", suffix, err)
		}
		for _, format := range Formats {
			if format != rawFormat && format != vhdxFormat {
				mustFail(t, r, []string{"plain" + suffix}, Options{Format: format})
			}
		}
	}
	// A base without a stated format is not guessed either.
	if err := mustFail(t, r, []string{withBacking(t, "over.qcow2", "evil.img", "")}, Options{}); !errors.Is(err, ErrFormat) {
		t.Error(err)
	}

	write(t, "evil.raw", evil)
	var warned string
	for path, o := range map[string]Options{
		"evil.raw": {Name: "a", Warn: func(s string) { warned = s }}, "evil.img": {Name: "b", Format: "raw"},
		withBacking(t, "c.qcow2", "evil.img", "raw"): {Name: "c"}, withBacking(t, "d.qcow2", "evil.raw", ""): {Name: "d"},
	} {
		_, it := ingestOne(t, r, path, o)
		same(t, stored(t, r, it)[:len(evil)], evil)
	}
	if !strings.Contains(warned, "taken as raw, as its name says, although") {
		t.Errorf("warned %q", warned)
	}
	write(t, "none.img", guest(1, 5000))
	if _, it := ingestOne(t, r, "none.img", Options{}); it.Format != "raw" || !strings.HasPrefix(it.Note, "taken as raw") {
		t.Errorf("%+v", it)
	}
}

// TestQcow2State: what cannot be read right is refused.
func TestQcow2State(t *testing.T) {
	chdir(t)
	r := testrepo.New(t)
	create(t, "a.qcow2", "qcow2", "1M")
	create(t, "d.qcow2", "qcow2", "1M", "-o", "data_file=d.bin")
	for path, want := range map[string]string{
		patched(t, "a.qcow2", "enc.qcow2", 35, []byte{2}):                                                     "encrypted",
		patched(t, "a.qcow2", "corrupt.qcow2", 79, []byte{incompatCorrupt}):                                   "marked as corrupt",
		patched(t, "a.qcow2", "new.qcow2", 72, []byte{1}):                                                     "features",
		patched(t, "a.qcow2", "v4.qcow2", 7, []byte{4}):                                                       "version 4",
		patched(t, "a.qcow2", "bits.qcow2", 23, []byte{63}):                                                   "damaged",
		patched(t, "d.qcow2", "out.qcow2", bytes.Index(read(t, "d.qcow2"), []byte("d.bin")), []byte("/etc/")): "data file",
	} {
		if err := mustFail(t, r, []string{path}, Options{}); !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", path, err)
		}
	}
	if err := os.Remove("d.bin"); err != nil {
		t.Fatal(err)
	}
	if err := mustFail(t, r, []string{"d.qcow2"}, Options{}); !strings.Contains(err.Error(), "d.bin") {
		t.Error(err)
	}
}

// TestDifferencing: images that need a parent which QEMU does not read.
func TestDifferencing(t *testing.T) {
	chdir(t)
	r := testrepo.New(t)
	create(t, "a.vdi", "vdi", "1M")
	create(t, "a.vhd", "vpc", "1M")
	create(t, "f.vhd", "vpc", "1M", "-o", "subformat=fixed")
	create(t, "a.vhdx", "vhdx", "8M")
	// The virtual disk's "has parent" bit: metadata item caa16737-fa36-4d43-b3b6-33f0aa44e76b.
	vhdx := read(t, "a.vhdx")
	item := bytes.Index(vhdx, []byte{0x37, 0x67, 0xa1, 0xca, 0x36, 0xfa, 0x43, 0x4d, 0xb3, 0xb6, 0x33, 0xf0, 0xaa, 0x44, 0xe7, 0x6b})
	table := bytes.Index(vhdx, []byte("metadata"))
	bit := table + int(binary.LittleEndian.Uint32(vhdx[item+16:])) + 4
	for path, want := range map[string]string{
		patched(t, "a.vdi", "diff.vdi", 0x1b8, bytes.Repeat([]byte{7}, 16)): "parent",
		patched(t, "a.vhd", "diff.vhd", vpcType, []byte{0, 0, 0, 4}):        "differencing",
		patched(t, "a.vhd", "type.vhd", vpcType, []byte{0, 0, 0, 5}):        "damaged",
		patched(t, "f.vhd", "evil.vhd", 0, read(t, "a.vhd")[:512]):          "damaged",
		patched(t, "a.vhdx", "diff.vhdx", bit, []byte{vhdx[bit] | 2}):       "",
	} {
		if err := mustFail(t, r, []string{path}, Options{}); !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", path, err)
		}
	}
}
