package vma

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"testing/iotest"

	"pgregory.net/rapid"
)

// The parts of the second of the seeds that tests change: one drive of a cluster.
type parts struct {
	header, extent []byte
}

// oneDrive is the archive of one drive of a cluster, with two blocks.
func oneDrive(t testing.TB) parts {
	b := seeds(t)[1]
	size := binary.BigEndian.Uint32(b[atHeaderSize:])
	return parts{b[:size], b[size:]}
}

// TestHostile reads archives that are wrong in one place each, with right
// checksums. Each error says what and where.
func TestHostile(t *testing.T) {
	be := binary.BigEndian
	for name, try := range map[string]struct {
		change func(p *parts)
		want   string // "" if it is accepted
	}{
		"untouched":               {func(*parts) {}, ""},
		"reserved bytes":          {func(p *parts) { p.header[100], p.header[4092], p.header[atDrives+4] = 1, 1, 1 }, ""},
		"first byte of the blobs": {func(p *parts) { p.header[fixedHeaderSize] = 1 }, ""},
		"padding":                 {func(p *parts) { p.header[len(p.header)-1] = 1 }, ""},
		"half a config":           {func(p *parts) { be.PutUint32(p.header[atConfigNames+4*200:], 1) }, ""},
		"reserved byte of a slot": {func(p *parts) { p.extent[atSlots+2] = 1 }, ""},
		"an empty slot first": {func(p *parts) {
			copy(p.extent[atSlots+slotSize:], p.extent[atSlots:atSlots+slotSize])
			clear(p.extent[atSlots : atSlots+slotSize])
		}, ""},
		"the last slot": {func(p *parts) {
			copy(p.extent[atSlots+58*slotSize:], p.extent[atSlots:atSlots+slotSize])
			clear(p.extent[atSlots : atSlots+slotSize])
		}, ""},
		"an empty extent more": {func(p *parts) {
			empty := make([]byte, extentHeaderSize)
			copy(empty, extentMagic)
			p.extent = append(p.extent, empty...)
		}, ""},
		"slot 255 has a size": {func(p *parts) { be.PutUint64(p.header[atDrives+255*driveEntrySize+atDriveSize:], 512) }, ""},
		"slot 0 has a size":   {func(p *parts) { be.PutUint64(p.header[atDrives+atDriveSize:], 512) }, ""},

		"size not of sectors":     {func(p *parts) { be.PutUint64(p.header[atDrives+driveEntrySize+atDriveSize:], 65535) }, "drive drive-scsi0 (device 1) has a size of 65535 bytes: that is no multiple of 512"},
		"size beyond 2^63":        {func(p *parts) { p.header[atDrives+driveEntrySize+atDriveSize] = 0x80 }, "has a size of 9223372036854841344 bytes"},
		"drive without a name":    {func(p *parts) { be.PutUint32(p.header[atDrives+driveEntrySize:], 0) }, "the name of device 1 (pointer at byte 4128): pointer 0 is not to the beginning"},
		"pointer into a name":     {func(p *parts) { p.header[atDrives+driveEntrySize+3]++ }, "the name of device 1 (pointer at byte 4128): pointer"},
		"blobs overflow 32 bits":  {func(p *parts) { be.PutUint32(p.header[atBlobs:], 0xfffffff0) }, "lie at byte 4294967280"},
		"blobs beyond the header": {func(p *parts) { be.PutUint32(p.header[atBlobsSize:], 600) }, "with 600 bytes: they must lie from byte 12288 to"},
		"half a length":           {func(p *parts) { p.header[atBlobsSize+3]++ }, "end inside of a length, at byte"},
		"blob beyond the blobs":   {func(p *parts) { p.header[fixedHeaderSize+2] = 0xff }, "the name or configuration file at byte 12289 has"},
		"vmstate":                 {rename("drive-scsi0", "vmstate\x00\x00\x00\x00"), "holds what cannot be printed"},
		"name is ..":              {rename("drive-scsi0", "..\x00\x00\x00\x00\x00\x00\x00\x00\x00"), "holds what cannot be printed"},
		"name with a slash":       {rename("drive-scsi0", "drive/scsi0"), `the name "drive/scsi0" of device 1 holds a slash`},
		"name of a terminal":      {rename("drive-scsi0", "drive\x1b[31m0"), "holds what cannot be printed"},
		"name of odd bytes":       {rename("drive-scsi0", "drive-scsi\xff"), "holds what cannot be printed"},

		"unknown drive":       {func(p *parts) { p.extent[atSlots+atSlotDrive] = 2 }, "extent 1 at byte 12800: slot 0 is of device 2, which the header does not list"},
		"drive 255":           {func(p *parts) { p.extent[atSlots+atSlotDrive] = 255 }, "slot 0 is of device 255, which the header does not list"},
		"cluster beyond":      {func(p *parts) { p.extent[atSlots+7] = 1 }, "slot 0 is cluster 1 of drive drive-scsi0 (device 1), which has only 1"},
		"cluster far beyond":  {func(p *parts) { copy(p.extent[atSlots+4:], "\xff\xff\xff\xff") }, "slot 0 is cluster 4294967295 of"},
		"zeros beyond":        {func(p *parts) { *p = parts{p.header, append(p.extent, emptySlot(1, 9, 0)...)} }, "is cluster 9 of drive drive-scsi0 (device 1), which has only 1"},
		"cluster twice":       {func(p *parts) { p.extent = append(p.extent, emptySlot(1, 0, 0)...) }, "extent 2 at byte 21504: slot 0 is cluster 0 of drive drive-scsi0 (device 1), which came before"},
		"mask beyond the end": {func(p *parts) { be.PutUint64(p.header[atDrives+driveEntrySize+atDriveSize:], 8*4096) }, "slot 0, cluster 0 of drive drive-scsi0 (device 1), has data beyond the drive's end (mask 0x0180)"},
		"no extent":           {func(p *parts) { p.extent = nil }, "it ends at byte 12800 after 0 extents, and clusters are missing: 1 of the 1 of drive drive-scsi0 (device 1), the first is cluster 0"},
		"half a header":       {func(p *parts) { p.extent = p.extent[:100] }, "extent 1 at byte 12800: it is cut off: it ends after 100 bytes of the 512 of its header"},
		"zeros after":         {func(p *parts) { p.extent = append(p.extent, make([]byte, 4096)...) }, "extent 2 at byte 21504: it begins with the bytes 00 00 00 00 where an extent has 56 4d 41 45"},
		"one byte after":      {func(p *parts) { p.extent = append(p.extent, 0) }, "all drives are complete, and 1 bytes follow"},
	} {
		t.Run(name, func(t *testing.T) {
			p := oneDrive(t)
			try.change(&p)
			_, _, err := contents(bytes.NewReader(seal(append(bytes.Clone(p.header), p.extent...))))
			switch {
			case err == nil && try.want != "":
				t.Errorf("it was accepted, want %q", try.want)
			case err != nil && (try.want == "" || !strings.Contains(err.Error(), try.want)):
				t.Errorf("got  %v\nwant %s", err, try.want)
			}
		})
	}
}

// rename changes a name in the header to another of the same length.
func rename(from, to string) func(*parts) {
	return func(p *parts) {
		p.header = bytes.Replace(p.header, []byte(from+"\x00"), []byte(to+"\x00"), 1)
	}
}

// emptySlot is an extent with one slot and no data.
func emptySlot(drive uint8, cluster uint32, mask uint16) []byte {
	h := make([]byte, extentHeaderSize)
	copy(h, extentMagic)
	binary.BigEndian.PutUint16(h[atSlots:], mask)
	h[atSlots+atSlotDrive] = drive
	binary.BigEndian.PutUint32(h[atSlots+atSlotCluster:], cluster)
	return h
}

// TestNames tells which names of configuration files and drives are refused.
func TestNames(t *testing.T) {
	for name, want := range map[string]string{
		"": "is empty", ".": "means a directory", "..": "means a directory", "a/b": "holds a slash", "/": "holds a slash",
		strings.Repeat("x", 256): "has 256 bytes", "a\x00b": "cannot be printed", "a\nb": "cannot be printed", "\xff": "cannot be printed",
		"qemu-server.conf": "", "..conf": "", "a b": "", "größe": "", strings.Repeat("x", 255): "",
	} {
		for what, h := range map[string]*Header{
			"config": {Configs: []Config{{Name: name}}}, "drive": {Drives: []Drive{{1, name, 512}}},
		} {
			err := h.Validate()
			if (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
				t.Errorf("%s %q: %v, want %q", what, name, err, want)
			}
		}
	}
	state := &Header{Drives: []Drive{{1, "vmstate", 512}}}
	if err := state.Validate(); err == nil || !strings.Contains(err.Error(), "RAM") {
		t.Errorf("vmstate: %v", err)
	}
	twice := &Header{Configs: []Config{{Name: "a"}, {Name: "a"}}}
	if err := twice.Validate(); err == nil || !strings.Contains(err.Error(), "configuration files 0 and 1 are both called") {
		t.Errorf("two of a name: %v", err)
	}
}

// TestReaderErrors hands on what the reader below says, and takes bytes in any
// portions.
func TestReaderErrors(t *testing.T) {
	for i, b := range seeds(t) {
		_, want, err := contents(bytes.NewReader(b))
		if err != nil {
			t.Fatal(err)
		}
		_, got, err := contents(iotest.OneByteReader(bytes.NewReader(b)))
		if err != nil || fmt.Sprint(len(got)) != fmt.Sprint(len(want)) {
			t.Fatalf("seed %d, byte by byte: %v", i, err)
		}
		for n := 0; n <= len(b); n += 1 + len(b)/50 {
			broken := errors.New("the cable was pulled")
			_, _, err := contents(io.MultiReader(bytes.NewReader(b[:n]), iotest.ErrReader(broken)))
			if !errors.Is(err, broken) {
				t.Errorf("seed %d, an error at byte %d becomes %v", i, n, err)
			}
			// What a decompressor says of a stream that was cut off is no end.
			_, _, err = contents(io.MultiReader(bytes.NewReader(b[:n]), iotest.ErrReader(io.ErrUnexpectedEOF)))
			if !errors.Is(err, io.ErrUnexpectedEOF) {
				t.Errorf("seed %d, cut off at byte %d: %v", i, n, err)
			}
		}
		v, err := NewReader(bytes.NewReader(b[:len(b)-1]))
		if err != nil {
			t.Fatal(err)
		}
		var first error
		for first == nil {
			_, first = v.Next()
		}
		if _, again := v.Next(); again != first || first == io.EOF {
			t.Errorf("seed %d: %v and then %v", i, first, again)
		}
	}
}

// TestSeenSet holds the set of clusters against a map.
func TestSeenSet(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		clusters := rapid.Int64Range(1, 3*pageClusters).Draw(t, "clusters")
		budget := maxOpenPages
		s := seenSet{clusters: clusters, open: map[int64]*seenPage{}, budget: &budget}
		model := map[int64]bool{}
		for range rapid.IntRange(1, 30).Draw(t, "runs") {
			first := rapid.Int64Range(0, clusters-1).Draw(t, "first")
			end := min(clusters, first+rapid.SampledFrom([]int64{1, 2, 63, 64, 65, 1024, pageClusters, 2 * pageClusters}).Draw(t, "n"))
			for c := first; c < end; c++ {
				fresh, err := s.add(c)
				if err != nil || fresh == model[c] {
					t.Fatalf("cluster %d: %v, %v; %v in the model", c, fresh, err, model[c])
				}
				model[c] = true
			}
			from := rapid.Int64Range(0, clusters-1).Draw(t, "from")
			to := min(clusters, from+rapid.Int64Range(0, 2000).Draw(t, "length"))
			want := true
			for c := from; c < to; c++ {
				want = want && model[c]
			}
			if got := s.holds(from, to); got != want {
				t.Fatalf("holds %d to %d: %v", from, to, got)
			}
		}
		if s.seen != int64(len(model)) || maxOpenPages-budget != len(s.open) {
			t.Fatalf("%d seen, %d in the model; %d pages open, %d paid", s.seen, len(model), len(s.open), maxOpenPages-budget)
		}
		if s.seen < clusters {
			missing := int64(0)
			for model[missing] {
				missing++
			}
			if got := s.firstMissing(); got != missing {
				t.Fatalf("the first that is missing is %d, want %d", got, missing)
			}
		}
	})
}

// TestStrewn gives up where clusters are strewn over more places than memory is
// meant for, and takes any number of them in order.
func TestStrewn(t *testing.T) {
	budget := 10
	s := seenSet{clusters: 1 << 30, open: map[int64]*seenPage{}, budget: &budget}
	for c := range int64(20 * pageClusters) {
		if _, err := s.add(c); err != nil {
			t.Fatal(err)
		}
	}
	for i := range int64(10) {
		if _, err := s.add((100 + i) * pageClusters); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := s.add(500 * pageClusters); err != errStrewn {
		t.Errorf("%v", err)
	}
}
