package vma

import (
	"bytes"
	"crypto/md5"
	"encoding/binary"
	"io"
	"math/rand/v2"
	"reflect"
	"testing"
)

// seal makes the checksums of what may be an archive right, so that a reader
// looks at the rest. It follows the lengths as far as they can be.
func seal(b []byte) []byte {
	b = bytes.Clone(b)
	sum := func(p []byte, at int) {
		clear(p[at : at+md5.Size])
		s := md5.Sum(p)
		copy(p[at:], s[:])
	}
	if len(b) < fixedHeaderSize {
		return b
	}
	size := int(binary.BigEndian.Uint32(b[atHeaderSize:]))
	if size > len(b) || size < fixedHeaderSize {
		return b
	}
	sum(b[:size], atHeaderSum)
	for at := size; at+extentHeaderSize <= len(b); {
		h := b[at : at+extentHeaderSize]
		copy(h[atExtentUUID:], b[atUUID:atUUID+16])
		sum(h, atExtentSum)
		at += extentHeaderSize + int(binary.BigEndian.Uint16(h[atBlockCount:]))*blockSize
	}
	return b
}

// seeds are small archives.
func seeds(t testing.TB) (list [][]byte) {
	t.Helper()
	rng := rand.New(rand.NewPCG(1, 1))
	odd := newDisk(3*clusterSize+5*512, 256*kib)
	odd.write(rng, 0, 3)
	odd.write(rng, 20, 30)
	even := newDisk(clusterSize, 256*kib)
	even.write(rng, 7, 2)
	for _, disks := range [][]*disk{nil, {even}, {odd, even}, {newDisk(512, 256*kib)}} {
		sources := make([]Source, len(disks))
		for i := range disks {
			sources[i] = disks[i]
		}
		v, err := NewView(headerOf(disks...), sources)
		if err != nil {
			t.Fatal(err)
		}
		b := make([]byte, v.Size())
		if _, err := v.ReadAt(b, 0); err != nil {
			t.Fatal(err)
		}
		list = append(list, b)
	}
	return list
}

// FuzzReader: no panic, no allocation by a length that is only stated; and what
// is accepted is the same when it is computed again and read.
func FuzzReader(f *testing.F) {
	for _, b := range seeds(f) {
		f.Add(b)
		f.Add(b[:len(b)-1])
		f.Add(append(bytes.Clone(b), 0))
	}
	f.Add([]byte("VMA\x00"))
	f.Fuzz(func(t *testing.T, b []byte) {
		b = seal(b)
		v, err := NewReader(bytes.NewReader(b))
		if err != nil {
			return
		}
		total := int64(0)
		for _, d := range v.Header().Drives {
			total += d.Size
		}
		if total > 64*mib {
			for err == nil {
				_, err = v.Next()
			}
			if err == io.EOF && total > int64(len(b))*clusterSize {
				t.Fatalf("%d bytes are said to hold %d", len(b), total)
			}
			return
		}
		h, drives, err := contents(bytes.NewReader(b))
		if err != nil {
			return
		}
		sources := make([]Source, len(drives))
		for i, d := range drives {
			sources[i] = diskOf(d, 256*kib)
		}
		view, err := NewView(h, sources)
		if err != nil {
			t.Fatalf("what was read cannot be computed again: %v", err)
		}
		again, drivesAgain, err := contents(io.NewSectionReader(view, 0, view.Size()))
		if err != nil {
			t.Fatalf("what was computed cannot be read: %v", err)
		}
		for i, c := range h.Configs { // empty or nil is the same
			if again.Configs[i].Name != c.Name || !bytes.Equal(again.Configs[i].Data, c.Data) {
				t.Fatalf("config %d is another", i)
			}
		}
		if again.UUID != h.UUID || again.Created != h.Created || !reflect.DeepEqual(again.Drives, h.Drives) {
			t.Fatalf("%+v becomes %+v", h, again)
		}
		for i := range drives {
			if !bytes.Equal(drives[i], drivesAgain[i]) {
				t.Fatalf("drive %d is another", i)
			}
		}
	})
}

// FuzzDescription: no panic, and what is accepted re-encodes to what decodes to
// the same.
func FuzzDescription(f *testing.F) {
	for _, d := range []Description{
		{Format: FormatVMA, Name: "vzdump-qemu-101-2026_11_20-03_00_01.vma", VMID: "101", UUID: "513a70db62c24321be918adffa3e98cd", Created: 1795289682,
			Drives:  []DescribedDrive{{1, "drive-scsi0", 512, "drive-scsi0"}, {3, "drive-scsi1", 1 << 40, "drive-scsi1-2"}},
			Configs: []DescribedConfig{{"qemu-server.conf", "qemu-server.conf"}}},
		{Format: FormatTar, Name: "vzdump-lxc-105-2026_11_20-03_00_00.tar", VMID: "105", Configs: []DescribedConfig{{"pct.conf", "pct.conf"}}},
	} {
		b, err := d.Encode()
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		d, err := DecodeDescription(b)
		if err != nil {
			return
		}
		encoded, err := d.Encode()
		if err != nil {
			t.Fatal(err)
		}
		again, err := DecodeDescription(encoded)
		if err != nil {
			t.Fatal(err)
		}
		twice, err := again.Encode()
		if err != nil || !bytes.Equal(encoded, twice) {
			t.Fatalf("%s becomes %s (%v)", encoded, twice, err)
		}
	})
}
