package disk

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"vaultfs/internal/testrepo"
)

// formats are the images that one disk is made into: file name, qemu-img's
// format and options.
var formats = []struct{ file, format, options string }{
	{"v2.qcow2", "qcow2", "compat=0.10"},
	{"v3.qcow2", "qcow2", ""},
	{"c512.qcow2", "qcow2", "cluster_size=512"},
	{"c4k.qcow2", "qcow2", "cluster_size=4k"},
	{"c2m.qcow2", "qcow2", "cluster_size=2M"},
	{"l2.qcow2", "qcow2", "extended_l2=on"},
	{"l2-2m.qcow2", "qcow2", "extended_l2=on,cluster_size=2M"},
	{"lazy.qcow2", "qcow2", "lazy_refcounts=on"},
	{"metadata.qcow2", "qcow2", "preallocation=metadata"},
	{"full.qcow2", "qcow2", "preallocation=full"},
	{"zlib.qcow2", "qcow2 -c", ""},
	{"zstd.qcow2", "qcow2 -c", "compression_type=zstd"},
	{"data.qcow2", "qcow2", "data_file=data.bin"},
	{"dataraw.qcow2", "qcow2", "data_file=dataraw.bin,data_file_raw=on"},
	{"old.qcow", "qcow", ""},
	{"a.raw", "raw", ""},
	{"sparse.vmdk", "vmdk", ""},
	{"flat.vmdk", "vmdk", "subformat=monolithicFlat"},
	{"twogb.vmdk", "vmdk", "subformat=twoGbMaxExtentSparse"},
	{"twogbflat.vmdk", "vmdk", "subformat=twoGbMaxExtentFlat"},
	{"stream.vmdk", "vmdk", "subformat=streamOptimized"},
	{"zero.vmdk", "vmdk", "zeroed_grain=on"},
	{"a.vdi", "vdi", ""},
	{"static.vdi", "vdi", "static=on"},
	{"a.vhdx", "vhdx", ""},
	{"fixed.vhdx", "vhdx", "subformat=fixed"},
	{"a.vhd", "vpc", ""},
	{"fixed.vhd", "vpc", "subformat=fixed"},
	{"exact.vhd", "vpc", "force_size=on"},
}

// TestEveryFormatComesBack: for every format and for sizes of every kind, what
// is stored equals what qemu-img makes of the image. All images of a size make
// one snapshot.
func TestEveryFormatComesBack(t *testing.T) {
	dir := chdir(t)
	r := testrepo.New(t)
	for k, size := range []int{5<<20 + 3*512, 512, 4096 + 512, 65536 - 512, 65536 + 512} {
		disk := guest(byte(k), size)
		write(t, "source", disk)
		var files, kinds []string
		for i, f := range formats {
			if k > 0 && (i+k)%4 != 0 && f.file != "v3.qcow2" {
				continue // every format with the first size, every size with some formats
			}
			args := append([]string{"convert", "-f", "raw", "-O"}, strings.Fields(f.format)...)
			if f.options != "" {
				args = append(args, "-o", f.options)
			}
			run(t, "qemu-img", append(args, "source", f.file)...)
			files, kinds = append(files, f.file), append(kinds, strings.Fields(f.format)[0])
		}
		made, err := Ingest(t.Context(), r, files, Options{Name: "all", Verify: k == 0, Program: "test"})
		if err != nil || len(made) != 1 || len(made[0].Items) != len(files) {
			t.Fatalf("%d bytes: made %+v, %v", size, made, err)
		}
		if info := made[0].Info; info.Mode != "file" || info.Program != "test" || info.Summary.BytesRead == 0 || info.Verified == "" {
			t.Errorf("info %+v", info)
		}
		for i, it := range made[0].Items {
			t.Run(fmt.Sprintf("%s %d", files[i], size), func(t *testing.T) {
				want := converted(t, kinds[i], files[i])
				same(t, stored(t, r, it), want)
				if kinds[i] != "vpc" { // which rounds sizes
					same(t, want, disk)
				}
				if it.Format != kinds[i] || it.Kind != "disk" || it.Note == "" || it.Path != filepath.Join(dir, files[i]) {
					t.Errorf("item %+v of %s", it, files[i])
				}
			})
		}
	}
}

// TestOddSizes: QEMU rounds a raw disk up to sectors, and so do we.
func TestOddSizes(t *testing.T) {
	chdir(t)
	r := testrepo.New(t)
	for _, size := range []int{0, 1, 511, 513, 4095, 4097, 65535, 65537, 1<<20 + 77} {
		write(t, "odd.raw", guest(9, size))
		_, it := ingestOne(t, r, "odd.raw", Options{})
		same(t, stored(t, r, it), converted(t, "raw", "odd.raw"))
		os.Remove("odd.raw")
		create(t, "odd.qcow2", "qcow2", fmt.Sprint(size))
		_, it = ingestOne(t, r, "odd.qcow2", Options{})
		same(t, stored(t, r, it), converted(t, "qcow2", "odd.qcow2"))
		os.Remove("odd.qcow2")
	}
}

// TestEmptyImages: nothing is read of a disk that was never written to, but for
// a raw file's first block, which qemu-img allocates, and for vhdx, whose holes
// QEMU does not tell.
func TestEmptyImages(t *testing.T) {
	chdir(t)
	r := testrepo.New(t)
	for _, f := range []struct{ file, format string }{{"e.qcow2", "qcow2"}, {"e.raw", "raw"}, {"e.vmdk", "vmdk"}, {"e.vdi", "vdi"}, {"e.vhdx", "vhdx"}} {
		create(t, f.file, f.format, "80M")
		snapshot, it := ingestOne(t, r, f.file, Options{Name: f.format})
		if n := snapshot.Info.Summary.BytesRead; n > 4096 && f.format != "vhdx" || it.Size != 80<<20 {
			t.Errorf("%s: %d bytes read, size %d", f.file, n, it.Size)
		}
		d, err := r.OpenDisk(t.Context(), it)
		if err != nil || d.Allocated() != 0 {
			t.Errorf("%s: %v, %d bytes allocated", f.file, err, d.Allocated())
		}
	}
}

// TestFullDisk: every grain of every segment, and a partial one, holds data.
func TestFullDisk(t *testing.T) {
	chdir(t)
	r := testrepo.New(t)
	disk := make([]byte, r.SegmentSize()+1<<20+512)
	noise(3, disk[:8<<20])
	for n := 8 << 20; n < len(disk); n *= 2 {
		copy(disk[n:], disk[:n])
	}
	write(t, "full.raw", disk)
	run(t, "qemu-img", "convert", "-f", "raw", "-O", "qcow2", "full.raw", "full.qcow2")
	first, it := ingestOne(t, r, "full.qcow2", Options{Name: "a", Verify: true})
	same(t, stored(t, r, it), disk)
	second, it := ingestOne(t, r, "full.raw", Options{Name: "b", Verify: true})
	same(t, stored(t, r, it), disk)
	if n, m := first.Info.Summary.BytesStored, second.Info.Summary.BytesStored; m*100 >= n {
		t.Errorf("stored %d bytes as qcow2, and %d more for the same disk as raw", n, m)
	}
}

// TestChain: three layers, of which the middle one is smaller than its base and
// the top one larger than both; named with and without a format.
func TestChain(t *testing.T) {
	chdir(t)
	r := testrepo.New(t)
	write(t, "base.raw", guest(1, 3<<20))
	create(t, "mid.qcow2", "qcow2", "2M", "-b", "base.raw", "-F", "raw")
	qemuIO(t, "qcow2", "mid.qcow2", "write -P 0x55 512k 700k", "write -z 1536k 64k")
	create(t, "top.qcow2", "qcow2", "4M", "-b", "mid.qcow2", "-F", "qcow2", "-o", "cluster_size=4k")
	qemuIO(t, "qcow2", "top.qcow2", "write -P 0x77 1M 4k", "write -z 900k 64k", "write -P 0x88 3M 100k")
	want := converted(t, "qcow2", "top.qcow2")
	_, it := ingestOne(t, r, "top.qcow2", Options{Verify: true})
	same(t, stored(t, r, it), want)

	// Names without a format, as old images have them.
	run(t, "qemu-img", "rebase", "-u", "-f", "qcow2", "-b", "mid.qcow2", "-F", "qcow2", "top.qcow2")
	top := strings.Replace(string(read(t, "top.qcow2")), "\xe2\x79\x2a\xca\x00\x00\x00\x05qcow2", "\x11\x11\x11\x11\x00\x00\x00\x05qcow2", 1)
	write(t, "noformat.qcow2", []byte(top))
	_, it = ingestOne(t, r, "noformat.qcow2", Options{})
	same(t, stored(t, r, it), want)

	// From elsewhere, by way of a link, and with the chain lying elsewhere.
	if err := os.Mkdir("sub", 0o700); err != nil {
		t.Fatal(err)
	}
	create(t, "sub/far.qcow2", "qcow2", "4M", "-b", "../top.qcow2", "-F", "qcow2")
	if _, err := Ingest(t.Context(), r, []string{"sub/far.qcow2"}, Options{}); err == nil || !strings.Contains(err.Error(), "--allow-backing") {
		t.Errorf("a backing file elsewhere: %v", err)
	}
	_, it = ingestOne(t, r, "sub/far.qcow2", Options{AllowBacking: true})
	same(t, stored(t, r, it), want)
}

// TestStateInImages: internal snapshots, bitmaps and an image that was not closed.
func TestStateInImages(t *testing.T) {
	chdir(t)
	r := testrepo.New(t)
	create(t, "s.qcow2", "qcow2", "4M", "-o", "lazy_refcounts=on")
	qemuIO(t, "qcow2", "s.qcow2", "write -P 1 0 1M")
	run(t, "qemu-img", "snapshot", "-c", "first", "s.qcow2")
	run(t, "qemu-img", "bitmap", "--add", "s.qcow2", "b0")
	qemuIO(t, "qcow2", "s.qcow2", "write -P 2 512k 1M")
	var warnings []string
	_, it := ingestOne(t, r, "s.qcow2", Options{Warn: func(s string) { warnings = append(warnings, s) }})
	same(t, stored(t, r, it), converted(t, "qcow2", "s.qcow2"))
	if len(warnings) != 1 || !strings.Contains(it.Note, "internal snapshots (1) are left out") {
		t.Errorf("note %q, warnings %q", it.Note, warnings)
	}

	dirty := read(t, "s.qcow2")
	dirty[79] |= incompatDirty
	write(t, "dirty.qcow2", dirty)
	_, it = ingestOne(t, r, "dirty.qcow2", Options{})
	same(t, stored(t, r, it), converted(t, "qcow2", "s.qcow2"))
	if !strings.Contains(it.Note, "was not closed") {
		t.Errorf("note %q", it.Note)
	}
}
