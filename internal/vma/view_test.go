package vma

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"

	"pgregory.net/rapid"
)

// headerOf describes an archive of some disks.
func headerOf(disks ...*disk) *Header {
	h := &Header{
		UUID:    [16]byte{0xab, 1, 2, 3, 15: 0xcd},
		Created: 1795289682,
		Configs: []Config{
			{"qemu-server.conf", []byte("cores: 1\nmemory: 512\n")},
			{"qemu-server.fw", []byte("[OPTIONS]\nenable: 1\n")},
		},
	}
	for i, d := range disks {
		h.Drives = append(h.Drives, Drive{uint8(i + 1), fmt.Sprintf("drive-scsi%d", i), d.size})
	}
	return h
}

func newView(t rapid.TB, h *Header, disks ...*disk) *View {
	t.Helper()
	sources := make([]Source, len(disks))
	for i, d := range disks {
		sources[i] = d
	}
	v, err := NewView(h, sources)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// readAll reads a whole archive in one go.
func readAll(t rapid.TB, v *View) []byte {
	t.Helper()
	b := make([]byte, v.Size())
	if n, err := v.ReadAt(b, 0); n != len(b) || err != nil {
		t.Fatalf("%d of %d bytes: %v", n, len(b), err)
	}
	return b
}

// drawDisk makes a disk of any size and pattern: runs of data and of zeros, of a
// grain up to some clusters.
func drawDisk(t *rapid.T, limit int64) *disk {
	segment := rapid.SampledFrom([]int64{256 * kib, mib, 4 * mib}).Draw(t, "segment")
	d := newDisk(512*rapid.Int64Range(1, limit/512).Draw(t, "sectors"), segment)
	rng := rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "seed"), 1))
	share := rapid.Float64Range(0, 1).Draw(t, "share")
	longest := rapid.SampledFrom([]int64{1, 5, 40, 2000}).Draw(t, "longest")
	for g := int64(0); g < d.grainCount(); {
		n := 1 + rng.Int64N(longest)
		if rng.Float64() < share {
			d.write(rng, g, n)
		}
		g += n
	}
	return d
}

// Whatever the disks, the archive holds them, in the shape of a genuine one, and
// the strict reader gets them back.
func TestViewShapeProperty(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var disks []*disk
		for range rapid.IntRange(0, 4).Draw(t, "drives") {
			disks = append(disks, drawDisk(t, 9*mib))
		}
		h := headerOf(disks...)
		file := readAll(t, newView(t, h, disks...))
		checkShape(t, bytes.NewReader(file), h, disks)
		_, drives, err := contents(bytes.NewReader(file))
		if err != nil {
			t.Fatal(err)
		}
		for i, d := range disks {
			if !bytes.Equal(drives[i], d.bytes()) {
				t.Fatalf("the reader gets other bytes of drive %d", i)
			}
		}
	})
}

// A read at any place gives the same bytes as a read of the whole.
func TestViewReadAtProperty(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		disks := []*disk{drawDisk(t, 3*mib), drawDisk(t, 12*mib), drawDisk(t, mib)}
		v := newView(t, headerOf(disks...), disks...)
		file := readAll(t, v)
		for range 60 {
			off := rapid.Int64Range(0, v.Size()).Draw(t, "off")
			p := make([]byte, rapid.SampledFrom([]int{1, 100, 512, 4096, 5000, 128 * kib, mib}).Draw(t, "length"))
			n, err := v.ReadAt(p, off)
			want := file[off:min(int64(len(file)), off+int64(len(p)))]
			if !bytes.Equal(p[:n], want) {
				t.Fatalf("%d bytes at %d are others than in the whole", len(p), off)
			}
			if (err == io.EOF) != (n < len(p)) || err != nil && err != io.EOF {
				t.Fatalf("%d of %d bytes at %d of %d: %v", n, len(p), off, v.Size(), err)
			}
		}
	})
}

// Many read one archive at once, each of all of it in steps of its own.
func TestViewIsReadConcurrently(t *testing.T) {
	rng := rand.New(rand.NewPCG(7, 7))
	a, b := newDisk(20*mib+512, mib), newDisk(540672, mib)
	for range 40 {
		a.write(rng, rng.Int64N(a.grainCount()), 60)
	}
	b.write(rng, 0, 30)
	v := newView(t, headerOf(a, b), a, b)
	file := readAll(t, v)
	var readers sync.WaitGroup
	for i := range 8 {
		readers.Go(func() {
			p := make([]byte, 1000+i*9999)
			for off := int64(0); off < v.Size(); off += int64(len(p)) {
				n, err := v.ReadAt(p, off)
				if err != nil && err != io.EOF || !bytes.Equal(p[:n], file[off:off+int64(n)]) {
					t.Errorf("reader %d at %d: %v, or other bytes", i, off, err)
					return
				}
			}
		})
	}
	readers.Wait()
}

// Drives are read in long runs: what is one piece on the drive and in an extent
// is one read.
func TestViewReadsRunsAtOnce(t *testing.T) {
	d := newDisk(58*4*clusterSize, 256*kib)
	d.write(rand.New(rand.NewPCG(1, 1)), 0, d.grainCount())
	v := newView(t, headerOf(d), d)
	readAll(t, v)
	if n := d.reads.Load(); n != 4 {
		t.Errorf("%d reads of a full drive of 4 extents", n)
	}
}

func TestViewErrors(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 3))
	fresh := func() *disk {
		d := newDisk(4*mib+512, mib)
		d.write(rng, 0, 100)
		d.write(rng, 512, 20)
		return d
	}
	source := errors.New("chunk 3f2a is damaged")

	d := fresh()
	d.failRead, d.failAt = source, 300*kib
	v := newView(t, headerOf(d), d)
	p := make([]byte, v.Size())
	n, err := v.ReadAt(p, 0)
	if want := len(v.header) + extentHeaderSize + 300*kib; n != want || !errors.Is(err, source) {
		t.Errorf("%d bytes before a damaged one, %v; want %d", n, err, want)
	}

	d = fresh()
	d.bitmap = func(int, []uint64) ([]uint64, error) { return nil, source }
	if n, err := newView(t, headerOf(d), d).ReadAt(p, 0); !errors.Is(err, source) || n != len(v.header) {
		t.Errorf("%d bytes with a damaged map: %v", n, err)
	}

	for want, change := range map[string]func(b []uint64) []uint64{
		"the count was 100": func(b []uint64) []uint64 { b[2] = 1; return b },
		"bitmap of 1 words": func(b []uint64) []uint64 { return b[:1] },
		"0 of them in the drive": func(b []uint64) []uint64 {
			return append(make([]uint64, len(b)), ^uint64(0), 1<<36-1)
		},
	} {
		d := fresh()
		d.bitmap = func(s int, b []uint64) ([]uint64, error) { return change(b), nil }
		_, err := newView(t, headerOf(d), d).ReadAt(p, 0)
		if err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "drive-scsi0") {
			t.Errorf("%v: want %q", err, want)
		}
	}

	short := fresh()
	h := headerOf(short)
	short.size = 64 * kib // the source's own length is now less than it was
	v.drives[0].src = short
	if _, err := v.ReadAt(p, 0); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("a disk that ends early: %v", err)
	}
	if _, err := NewView(h, []Source{short}); err == nil || !strings.Contains(err.Error(), "its disk has 65536 bytes, the archive had 4194816") {
		t.Errorf("a disk of another size: %v", err)
	}
	if _, err := v.ReadAt(p, -1); err == nil {
		t.Error("a negative offset is taken")
	}
}

func TestNewViewRefuses(t *testing.T) {
	wrong := func(change func(h *Header, d *disk)) (*Header, []Source) {
		d := newDisk(mib, mib)
		h := headerOf(d)
		change(h, d)
		return h, []Source{d}
	}
	for want, change := range map[string]func(h *Header, d *disk){
		"300 grains hold data of 256":     func(h *Header, d *disk) { d.wrongCount = map[int]uint32{0: 300} },
		"segments of 65536 bytes":         func(h *Header, d *disk) { d.segment = 65536 },
		"segments of 0 bytes":             func(h *Header, d *disk) { d.segment = 0 },
		"an archive of 0 drives, 1 disks": func(h *Header, d *disk) { h.Drives = nil },
		"67108864 segments": func(h *Header, d *disk) {
			d.size, d.segment, h.Drives[0].Size = 16*tib, 256*kib, 16*tib
		},
		"holds a slash": func(h *Header, d *disk) { h.Configs[0].Name = "../x" },
	} {
		h, sources := wrong(change)
		if _, err := NewView(h, sources); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v: want %q", err, want)
		}
	}
}
