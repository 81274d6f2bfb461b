package qcow2

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// writeFile writes size bytes of r as a file with holes where 4 KiB are zeros.
func writeFile(t *testing.T, path string, size int64, read func(p []byte, off int64) (int, error)) {
	t.Helper()
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := f.Truncate(size); err != nil {
		t.Fatal(err)
	}
	buf, zeros := make([]byte, mib), make([]byte, mib)
	for off := int64(0); off < size; off += mib {
		p := buf[:min(mib, size-off)]
		if _, err := read(p, off); err != nil {
			t.Fatal(err)
		}
		if bytes.Equal(p, zeros[:len(p)]) {
			continue
		}
		for at := 0; at < len(p); at += 4096 {
			block := p[at:min(at+4096, len(p))]
			if bytes.Equal(block, zeros[:len(block)]) {
				continue
			}
			if _, err := f.WriteAt(block, off+int64(at)); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// writeView writes the whole file of a view.
func writeView(t *testing.T, v *View) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "view.qcow2")
	writeFile(t, path, v.Size(), v.ReadAt)
	return path
}

// qemu runs one of QEMU's tools and returns what it prints.
func qemu(t *testing.T, tool string, args ...string) []byte {
	t.Helper()
	var stderr bytes.Buffer
	cmd := exec.Command(tool, args...)
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s %q: %v\n%s%s", tool, args, err, out, &stderr)
	}
	return out
}

func decode[T any](t *testing.T, out []byte) T {
	t.Helper()
	var v T
	if err := json.Unmarshal(out, &v); err != nil {
		t.Fatalf("%v in %s", err, out)
	}
	return v
}

// checkImage is qemu-img check: no error, no leak, the file ends where it should.
func checkImage(t *testing.T, path string, v *View) {
	t.Helper()
	out := qemu(t, "qemu-img", "check", "-f", "qcow2", "--output=json", path)
	got := decode[struct {
		Corruptions int   `json:"corruptions"`
		Leaks       int   `json:"leaks"`
		CheckErrors int   `json:"check-errors"`
		End         int64 `json:"image-end-offset"`
		Allocated   int64 `json:"allocated-clusters"`
	}](t, out)
	if got.Corruptions+got.Leaks+got.CheckErrors != 0 || got.End != v.Size() || got.Allocated != v.alloc.total() {
		t.Errorf("%d bytes and %d clusters, but check says %s", v.Size(), v.alloc.total(), out)
	}
}

// checkInfo is qemu-img info: the size and no feature that we do not mean.
func checkInfo(t *testing.T, path string, d *disk) {
	t.Helper()
	out := qemu(t, "qemu-img", "info", "--output=json", path)
	got := decode[struct {
		Format      string `json:"format"`
		VirtualSize int64  `json:"virtual-size"`
		ClusterSize int    `json:"cluster-size"`
		Dirty       bool   `json:"dirty-flag"`
		Specific    struct {
			Data struct {
				Compat   string `json:"compat"`
				Lazy     bool   `json:"lazy-refcounts"`
				Refcount int    `json:"refcount-bits"`
				Corrupt  bool   `json:"corrupt"`
			} `json:"data"`
		} `json:"format-specific"`
	}](t, out)
	data := got.Specific.Data
	if got.Format != "qcow2" || got.VirtualSize != divideUp(d.size, 512)*512 || got.ClusterSize != 65536 || got.Dirty ||
		data.Compat != "1.1" || data.Lazy || data.Refcount != 16 || data.Corrupt {
		t.Errorf("disk of %d bytes: info says %s", d.size, out)
	}
}

// checkMap is qemu-img map: data exactly where clusters are allocated.
func checkMap(t *testing.T, path string, d *disk) {
	t.Helper()
	type extent struct {
		Start, Length int64
		Data, Zero    bool
	}
	end, data := int64(0), int64(0)
	for _, e := range decode[[]extent](t, qemu(t, "qemu-img", "map", "-f", "qcow2", "--output=json", path)) {
		if d.size == 0 && e == (extent{}) {
			continue // QEMU lists one empty extent
		}
		if e.Start != end || e.Data == e.Zero {
			t.Fatalf("map has %+v after %d", e, end)
		}
		end = e.Start + e.Length
		for c := e.Start / 65536; c < divideUp(end, 65536); c++ {
			if d.allocated(c) != e.Data {
				t.Fatalf("cluster %d: allocated %v, map has %+v", c, d.allocated(c), e)
			}
			if e.Data {
				data++
			}
		}
	}
	if end != divideUp(d.size, 512)*512 || data != d.total() {
		t.Errorf("map ends at %d with %d clusters, the disk has %d bytes and %d", end, data, d.size, d.total())
	}
}

// fills are the ways in which the disks below are allocated.
var fills = map[string]func(d *disk, rng *rand.Rand){
	"empty":  func(*disk, *rand.Rand) {},
	"full":   func(d *disk, _ *rand.Rand) { d.allocate(0, d.clusters()) },
	"random": func(d *disk, rng *rand.Rand) { d.allocateRandomly(rng, 0.4) },
	"ends": func(d *disk, rng *rand.Rand) {
		d.allocate(0, min(1, d.clusters()))
		d.allocate(max(0, d.clusters()-1), min(1, d.clusters()))
		if d.clusters() > 0 {
			d.scatter(rng, 10)
		}
	},
}

func TestQEMUReadsTheView(t *testing.T) {
	type shape struct {
		size, segment int64
		fills         []string
	}
	var shapes []shape
	for _, size := range []int64{0, 512, 64<<10 - 512, 64 << 10, 64<<10 + 512, 1, 100_001, 5*mib + 77} {
		shapes = append(shapes, shape{size, mib, []string{"empty", "full"}})
	}
	for i, size := range []int64{512*mib - 512, 512 * mib, 512*mib + 512, 3*gib + 12345} {
		segment := []int64{mib, 64 * mib, 256 * mib, 64 * mib}[i]
		shapes = append(shapes, shape{size, segment, []string{"ends"}})
	}
	shapes = append(shapes,
		shape{512 * mib, 512 * mib, []string{"empty"}},
		shape{20*mib + 512, mib, []string{"random"}},
		shape{70 * mib, 64 * mib, []string{"random", "full"}},
		shape{300*mib - 1, 256 * mib, []string{"random"}},
		shape{600*mib + 1000, 512 * mib, []string{"random"}})
	for _, s := range shapes {
		for _, fill := range s.fills {
			t.Run(fmt.Sprintf("%d bytes in segments of %d MiB, %s", s.size, s.segment/mib, fill), func(t *testing.T) {
				d := newDisk(s.size, s.segment)
				fills[fill](d, rand.New(rand.NewPCG(14, uint64(s.size))))
				v := newView(t, d)
				path := writeView(t, v)
				checkImage(t, path, v)
				checkInfo(t, path, d)
				checkMap(t, path, d)
				raw := filepath.Join(t.TempDir(), "raw")
				writeFile(t, raw, d.size, d.ReadAt)
				qemu(t, "qemu-img", "compare", "-f", "qcow2", "-F", "raw", path, raw)
			})
		}
	}
}

// TestQEMUChecksHugeSparseDisks has clusters of zeros, so that the files are
// holes where the data is. The first has some more than one refcount block.
func TestQEMUChecksHugeSparseDisks(t *testing.T) {
	for _, tc := range []struct {
		size, segment int64
		runs          int
		contiguous    int64
	}{
		{4 * tib, 64 * mib, 1000, 33000},
		{64*tib + 512, 256 * mib, 300, 3000},
		{2048 * tib, 512 * mib, 20, 100},
	} {
		t.Run(fmt.Sprintf("%d TiB", tc.size/tib), func(t *testing.T) {
			d := newDisk(tc.size, tc.segment)
			d.zeros = true
			d.scatter(rand.New(rand.NewPCG(15, 16)), tc.runs)
			d.allocate(d.clusters()/3, tc.contiguous)
			d.allocate(d.clusters()-1, 1)
			v := newView(t, d)
			path := writeView(t, v)
			checkImage(t, path, v)
			checkInfo(t, path, d)
		})
	}
}

// TestCopyIsWritable lets QEMU write to a copy of the file, over what is there
// and beside it, and grow it: refcounts and COPIED flags have to be right.
func TestCopyIsWritable(t *testing.T) {
	for _, size := range []int64{0, 100 * mib} {
		d := newDisk(size, mib)
		d.allocateRandomly(rand.New(rand.NewPCG(17, 18)), 0.5)
		path := writeView(t, newView(t, d))
		raw := filepath.Join(t.TempDir(), "raw")
		writeFile(t, raw, d.size, d.ReadAt)
		for _, disk := range [][2]string{{"qcow2", path}, {"raw", raw}} {
			qemu(t, "qemu-img", "resize", "-f", disk[0], disk[1], "3G")
			qemu(t, "qemu-io", "-f", disk[0], "-c", "write -P 7 3M 40M", "-c", "discard 50M 8M",
				"-c", "write -P 9 2G 1M", "-c", "write -z 70M 5M", disk[1])
		}
		qemu(t, "qemu-img", "check", "-f", "qcow2", path)
		qemu(t, "qemu-img", "compare", "-f", "qcow2", "-F", "raw", path, raw)
	}
}
