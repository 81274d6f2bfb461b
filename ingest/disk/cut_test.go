package disk

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"os"
	"strings"
	"testing"

	"vaultfs/internal/testrepo"
)

// cutImages are images of a disk of 6 MiB that a copy may break off
// of: file name, format and options of qemu-img, and the file that is cut.
var cutImages = []struct{ file, format, options, cut string }{
	{"c4k.qcow2", "qcow2", "cluster_size=4k", ""},
	{"c64k.qcow2", "qcow2", "", ""},
	{"v2.qcow2", "qcow2", "compat=0.10", ""},
	{"l2.qcow2", "qcow2", "extended_l2=on", ""},
	{"zlib.qcow2", "qcow2 -c", "", ""},
	{"zstd.qcow2", "qcow2 -c", "compression_type=zstd,cluster_size=4k", ""},
	{"metadata.qcow2", "qcow2", "preallocation=metadata", ""},
	{"data.qcow2", "qcow2", "data_file=data.bin", "data.bin"},
	{"dataraw.qcow2", "qcow2", "data_file=dataraw.bin,data_file_raw=on", "dataraw.bin"},
	{"a.vdi", "vdi", "", ""},
	{"static.vdi", "vdi", "static=on", ""},
	{"sparse.vmdk", "vmdk", "", ""},
	{"stream.vmdk", "vmdk", "subformat=streamOptimized", ""},
	{"twogb.vmdk", "vmdk", "subformat=twoGbMaxExtentSparse", "twogb-s001.vmdk"},
	{"flat.vmdk", "vmdk", "subformat=monolithicFlat", "flat-flat.vmdk"},
	{"twogbflat.vmdk", "vmdk", "subformat=twoGbMaxExtentFlat", "twogbflat-f001.vmdk"},
}

// TestCutOff: a copy that broke off anywhere is refused, and not taken for a disk
// of zeros. The whole image is read, and so is it as the base of another.
func TestCutOff(t *testing.T) {
	chdir(t)
	r, whole := testrepo.New(t), testrepo.New(t)
	disk := guest(2, 6<<20)
	write(t, "source", disk)
	for _, c := range cutImages {
		args := append([]string{"convert", "-f", "raw", "-O"}, strings.Fields(c.format)...)
		if c.options != "" {
			args = append(args, "-o", c.options)
		}
		run(t, "qemu-img", append(args, "source", c.file)...)
		_, it := ingestOne(t, whole, c.file, Options{Name: c.file})
		same(t, stored(t, whole, it), disk)
		if c.cut == "" {
			c.cut = c.file
		}
		image := read(t, c.cut)
		for _, left := range []int{len(image) / 3, len(image) / 2, len(image) * 9 / 10, len(image) - 66000} {
			write(t, c.cut, image[:left])
			err := mustFail(t, r, []string{c.file}, Options{})
			if s := err.Error(); !strings.Contains(s, "is cut off: its ") || !strings.Contains(s, c.cut) && !strings.Contains(s, "data file") ||
				!strings.Contains(s, fmt.Sprintf(" has %d bytes, and ", left)) || !strings.HasSuffix(s, "is the copy complete?") {
				t.Errorf("%s, %d of %d bytes: %v", c.cut, left, len(image), err)
			}
		}
	}
	create(t, "over.qcow2", "qcow2", "8M", "-u", "-b", "c4k.qcow2", "-F", "qcow2")
	if err := mustFail(t, r, []string{"over.qcow2"}, Options{}); !strings.Contains(err.Error(), `c4k.qcow2" is cut off`) {
		t.Error(err)
	}
}

// TestNotCutOff: images whose last cluster or table QEMU leaves short, or whose
// tables point at what nobody reads.
func TestNotCutOff(t *testing.T) {
	chdir(t)
	r := testrepo.New(t)
	for i, options := range []string{
		"preallocation=metadata", "preallocation=metadata,cluster_size=2M", "preallocation=metadata,extended_l2=on",
		"preallocation=falloc,cluster_size=4k", "cluster_size=512", "extended_l2=on,cluster_size=2M", "data_file=d.bin", "data_file=e.bin,data_file_raw=on",
	} {
		path := create(t, fmt.Sprintf("n%d.qcow2", i), "qcow2", fmt.Sprint(5<<20+3*512), "-o", options)
		qemuIO(t, "qcow2", path, "write -P 1 1M 512", "write -P 2 4000k 5k", "write -P 3 5242880 512", "write -z 2M 64k", "discard 1M 1M")
		_, it := ingestOne(t, r, path, Options{Name: fmt.Sprint("n", i)})
		same(t, stored(t, r, it), converted(t, "qcow2", path))
		if i < 6 {
			run(t, "qemu-img", "resize", "-q", "-f", "qcow2", path, "9M")
			run(t, "qemu-img", "snapshot", "-c", "s", path)
			run(t, "qemu-img", "resize", "-q", "-f", "qcow2", "--shrink", path, "3M")
			_, it = ingestOne(t, r, path, Options{Name: fmt.Sprint("n", i)})
			same(t, stored(t, r, it), converted(t, "qcow2", path))
		}
	}
}

// TestUnreadFormats: an image that is not read is not a raw disk either.
func TestUnreadFormats(t *testing.T) {
	chdir(t)
	r := testrepo.New(t)
	create(t, "a.qed", "qed", "1M")
	create(t, "a.hds", "parallels", "1M")
	for path, format := range map[string]string{"a.qed": "qed", "a.hds": "parallels"} {
		err := mustFail(t, r, []string{path}, Options{})
		if s := err.Error(); !strings.Contains(s, "looks like "+format+", which is not read") || strings.Contains(s, "\n") {
			t.Errorf("%s: %v", path, err)
		}
	}
	if err := os.Rename("a.qed", "a.raw"); err != nil {
		t.Fatal(err)
	}
	_, it := ingestOne(t, r, "a.raw", Options{})
	same(t, stored(t, r, it), read(t, "a.raw"))
	_, it = ingestOne(t, r, "a.hds", Options{Name: "forced", Format: "raw"})
	same(t, stored(t, r, it), read(t, "a.hds"))
	write(t, "secret.img", append([]byte("LUKS\xba\xbe\x00\x02"), guest(1, 8184)...))
	_, it = ingestOne(t, r, "secret.img", Options{})
	same(t, stored(t, r, it), read(t, "secret.img"))
	if it.Format != "raw" || !strings.Contains(it.Note, "LUKS") {
		t.Errorf("%+v", it)
	}
}

// FuzzTables: no panic and no table behind the end, whatever a header says.
func FuzzTables(f *testing.F) {
	vdi := make([]byte, 1024)
	binary.LittleEndian.PutUint32(vdi[vdiMapOffset:], 512)
	binary.LittleEndian.PutUint32(vdi[vdiBlocks:], 2)
	f.Add(vdi)
	vmdk := make([]byte, 2048)
	copy(vmdk, vmdkSparseMagic)
	vmdk[12], vmdk[20], vmdk[45], vmdk[56] = 9, 8, 2, 1
	f.Add(vmdk)
	qcow := make([]byte, 4096)
	copy(qcow, qcowMagic+"\x00\x00\x00\x02")
	qcow[23], qcow[30], qcow[39], qcow[46], qcow[1030] = 9, 2, 2, 4, 8
	f.Add(qcow)
	f.Fuzz(func(t *testing.T, p []byte) {
		r, size := bytes.NewReader(p), uint64(len(p))
		for _, err := range []error{checkVDI(r, size), checkSparse(r, size)} {
			if err != nil && strings.Contains(err.Error(), "cannot be read") {
				t.Fatal(err)
			}
		}
		h, err := readQcow(r, qcow2Format)
		if err != nil {
			return
		}
		h.tables.guest = min(h.tables.guest, 1<<40)
		if err := h.tables.check(t.Context(), r, size, size); err != nil && strings.Contains(err.Error(), "cannot be read") {
			t.Fatal(err)
		}
	})
}
