package restore

import (
	"bytes"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
	"unsafe"
)

// Whatever memory and places pieces have, the file holds them.
func TestOutputOfAnyPieces(t *testing.T) {
	want := alignedBuffer(1 << 20)
	rand.NewChaCha8([32]byte{1}).Read(want)
	odd := append(make([]byte, 1, len(want)+1), want...)[1:] // memory that is written directly nowhere
	for name, pieces := range map[string][]struct {
		from []byte
		ends []int
	}{
		"large":                 {{want, []int{len(want)}}},
		"with a rest":           {{want, []int{300<<10 + 7, 600 << 10, len(want)}}},
		"small":                 {{want, []int{4096, 8192, 8193, 70000, len(want)}}},
		"in wrong memory":       {{odd, []int{500 << 10, len(want)}}},
		"in wrong memory later": {{want, []int{128 << 10}}, {odd, []int{256 << 10}}, {want, []int{len(want)}}},
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "f")
			f, err := os.Create(path)
			if err != nil {
				t.Fatal(err)
			}
			defer f.Close()
			if err := f.Truncate(int64(len(want))); err != nil {
				t.Fatal(err)
			}
			o, at := newOutput(f), 0
			defer o.close()
			for _, p := range pieces {
				for _, end := range p.ends {
					if err := o.writeAt(p.from[at:end], int64(at)); err != nil {
						t.Fatal(err)
					}
					at = end
				}
			}
			if got, err := os.ReadFile(path); err != nil || !bytes.Equal(got, want) {
				t.Errorf("the file holds something else (%v)", err)
			}
		})
	}
}

func TestRoomIsAligned(t *testing.T) {
	var buf []byte
	for _, n := range []int64{1, 4096, 5000, 2 << 20, 4096, 3 << 20} {
		if buf = room(buf, n); int64(len(buf)) != n || uintptr(unsafe.Pointer(&buf[0]))%block != 0 {
			t.Errorf("%d bytes at %p, want %d", len(buf), &buf[0], n)
		}
	}
}

// What somebody else puts under the name of the file that is written gets none of it.
func TestOutputWritesToItsFileOnly(t *testing.T) {
	path := filepath.Join(t.TempDir(), "f")
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, nil, 0o666); err != nil {
		t.Fatal(err)
	}
	o := newOutput(f)
	defer o.close()
	want := alignedBuffer(1 << 20)
	rand.NewChaCha8([32]byte{2}).Read(want)
	if err := o.writeAt(want, 0); err != nil {
		t.Fatal(err)
	}
	if got, err := os.ReadFile(path); err != nil || len(got) > 0 {
		t.Errorf("the other file got %d bytes (%v)", len(got), err)
	}
	got := make([]byte, len(want))
	if _, err := f.ReadAt(got, 0); err != nil || !bytes.Equal(got, want) {
		t.Errorf("the file holds something else (%v)", err)
	}
}
