package vma

import (
	"bytes"
	"cmp"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"
)

// The drives of genuine archives make archives that are as the genuine ones are,
// but for the order of the clusters: the same header, the same slots, the same
// length.
func TestViewOfGenuineDrives(t *testing.T) {
	for _, name := range []string{
		"vzdump-qemu-101-2026_11_20-03_00_01.vma.zst",
		"vzdump-qemu-103-2026_11_20-03_20_00.vma",
		"vzdump-qemu-104-2026_11_20-03_30_00.vma.zst",
	} {
		t.Run(name, func(t *testing.T) {
			genuine := plain(t, name)
			h, drives, err := contents(bytes.NewReader(genuine))
			if err != nil {
				t.Fatal(err)
			}
			var disks []*disk
			for _, d := range drives {
				disks = append(disks, diskOf(d, mib))
			}
			v := newView(t, h, disks...)
			file := readAll(t, v)
			checkShape(t, bytes.NewReader(file), h, disks)
			header := len(v.header)
			if !bytes.Equal(file[:header], genuine[:header]) {
				t.Error("the header is another")
			}
			if len(file) != len(genuine) {
				t.Errorf("%d bytes, the genuine archive has %d", len(file), len(genuine))
			}
			if got, want := sortedSlots(t, file, h, header), sortedSlots(t, genuine, h, header); !slices.Equal(got, want) {
				t.Error("the masks of the clusters are others")
			}
			checkReaders(t, v, h, drives)
		})
	}
}

func sortedSlots(t *testing.T, file []byte, h *Header, header int) []seenSlot {
	extents, _, err := parseExtents(bytes.NewReader(file), int64(header), h.UUID)
	if err != nil {
		t.Fatal(err)
	}
	return slices.SortedFunc(slices.Values(slices.Concat(extents...)), func(a, b seenSlot) int {
		return cmp.Or(cmp.Compare(a.drive, b.drive), cmp.Compare(a.cluster, b.cluster))
	})
}

// checkReaders has an archive read back by the strict Reader and by another
// program, and compares configs and drives byte by byte.
func checkReaders(t *testing.T, v *View, h *Header, drives [][]byte) {
	t.Helper()
	read, got, err := contents(io.NewSectionReader(v, 0, v.Size()))
	if err != nil {
		t.Fatal(err)
	}
	if fmt.Sprint(read) != fmt.Sprint(h) {
		t.Errorf("header %v, not %v", read, h)
	}
	for i := range drives {
		if !bytes.Equal(got[i], drives[i]) {
			t.Errorf("the reader gets other bytes of %v", &h.Drives[i])
		}
	}
	dir := t.TempDir()
	cmd := exec.Command("perl", "testdata/view-extract.pl", "-", dir)
	cmd.Stdin = io.NewSectionReader(v, 0, v.Size())
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("view-extract.pl: %v\n%s", err, out)
	}
	want := map[string][]byte{}
	for _, c := range h.Configs {
		want["config-"+c.Name] = c.Data
	}
	for i, d := range h.Drives {
		want[d.Name] = drives[i]
	}
	files, err := os.ReadDir(dir)
	if err != nil || len(files) != len(want) {
		t.Errorf("%d files, want %d (%v)", len(files), len(want), err)
	}
	for name, content := range want {
		if got, err := os.ReadFile(filepath.Join(dir, name)); err != nil || !bytes.Equal(got, content) {
			t.Errorf("the extractor gets other bytes of %s (%v)", name, err)
		}
	}
}

// Sizes and contents that no fixture has, through both readers.
func TestViewIsReadByOthers(t *testing.T) {
	rng := rand.New(rand.NewPCG(11, 12))
	for _, sizes := range [][]int64{
		{512}, {4096}, {65536 - 512}, {65536 + 512}, {58 * 65536}, {58*65536 + 4096*3 + 1024, 512, 1536},
		{65*mib + 512, 29 * 65536, 528 * kib}, {3 * mib, 5 * mib, 7 * mib, 11 * mib, 13*mib + 5120},
	} {
		var disks []*disk
		for _, size := range sizes {
			d := newDisk(size, 64*mib)
			for range 1 + d.grainCount()/500 {
				d.write(rng, rng.Int64N(d.grainCount()), 1+rng.Int64N(40))
			}
			d.write(rng, d.grainCount()-1, 1)
			disks = append(disks, d)
		}
		h := headerOf(disks...)
		v := newView(t, h, disks...)
		checkShape(t, io.NewSectionReader(v, 0, v.Size()), h, disks)
		var drives [][]byte
		for _, d := range disks {
			drives = append(drives, d.bytes())
		}
		checkReaders(t, v, h, drives)
	}
}
