package qcow2

import (
	"bytes"
	"io"
	"math/rand/v2"
	"sync"
	"syscall"
	"testing"

	"pgregory.net/rapid"
)

var _ io.ReaderAt = (*View)(nil)

func newView(t rapid.TB, src Source) *View {
	t.Helper()
	v, err := New(src)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// readAll reads the whole file at once.
func readAll(t rapid.TB, v *View) []byte {
	t.Helper()
	b := make([]byte, v.Size())
	if n, err := v.ReadAt(b, 0); err != nil || int64(n) != v.Size() {
		t.Fatalf("read %d of %d bytes: %v", n, v.Size(), err)
	}
	return b
}

// checkSlice reads n bytes at off and holds them against the whole file.
func checkSlice(t rapid.TB, v *View, file []byte, off, n int64) {
	t.Helper()
	p := bytes.Repeat([]byte{0xa5}, int(n))
	got, err := v.ReadAt(p, off)
	want := min(n, int64(len(file))-off)
	if int64(got) != want || (want < n) != (err == io.EOF) || (want == n) != (err == nil) {
		t.Fatalf("read of %d at %d: %d bytes, %v", n, off, got, err)
	}
	if !bytes.Equal(p[:got], file[off:off+want]) {
		t.Fatalf("read of %d at %d differs from the whole file", n, off)
	}
	if len(bytes.Trim(p[got:], "\xa5")) != 0 {
		t.Fatalf("read of %d at %d wrote past its end", n, off)
	}
}

func TestReadsAcrossAllBorders(t *testing.T) {
	d := newDisk(600*mib+1000, 64*mib)
	rng := rand.New(rand.NewPCG(3, 4))
	d.scatter(rng, 30)
	d.allocate(d.clusters()-1, 1)
	v := newView(t, d)
	file := readAll(t, v)
	for border := int64(0); border <= v.Size(); border += 65536 {
		for range 8 {
			off := max(0, border+20-rng.Int64N(40))
			checkSlice(t, v, file, min(off, v.Size()), rng.Int64N(50))
		}
	}
}

// TestReadsInsideTables begins and ends reads within the entries of full tables.
func TestReadsInsideTables(t *testing.T) {
	d := newDisk(1100*mib, 4*mib)
	d.allocateRandomly(rand.New(rand.NewPCG(21, 22)), 0.6)
	v := newView(t, d)
	tables := make([]byte, v.layout.data)
	if _, err := v.ReadAt(tables, 0); err != nil {
		t.Fatal(err)
	}
	rng := rand.New(rand.NewPCG(23, 24))
	starts := []int64{v.layout.refTable, v.layout.refBlocks, v.layout.l1, v.layout.l2}
	for i := range 2000 {
		off := starts[i%4] + rng.Int64N([]int64{40, clusterSize}[i/4%2])
		want := tables[off:min(v.layout.data, off+rng.Int64N(600))]
		p := bytes.Repeat([]byte{0xa5}, len(want))
		if n, err := v.ReadAt(p, off); n != len(want) || err != nil || !bytes.Equal(p, want) {
			t.Fatalf("read of %d at %d: %d bytes, %v", len(want), off, n, err)
		}
	}
}

func TestConcurrentReads(t *testing.T) {
	d := newDisk(40*mib+7, mib)
	d.allocateRandomly(rand.New(rand.NewPCG(5, 6)), 0.5)
	v := newView(t, d)
	file := readAll(t, v)
	var wg sync.WaitGroup
	for worker := range uint64(8) {
		wg.Go(func() {
			rng := rand.New(rand.NewPCG(7, worker))
			p := make([]byte, 300_000)
			for range 200 {
				off := rng.Int64N(v.Size())
				want := file[off:min(v.Size(), off+rng.Int64N(300_000))]
				if n, err := v.ReadAt(p[:len(want)], off); err != nil || !bytes.Equal(p[:n], want) {
					t.Errorf("read of %d at %d: %d bytes, %v", len(want), off, n, err)
					return
				}
			}
		})
	}
	wg.Wait()
}

func TestConsecutiveGuestClustersAreOneRead(t *testing.T) {
	for _, tc := range []struct {
		name     string
		allocate func(d *disk)
		want     int64
	}{
		{"contiguous over segment borders", func(d *disk) { d.allocate(8, 200) }, 1},
		{"contiguous up to an empty segment", func(d *disk) { d.allocate(8, 8); d.allocate(32, 100) }, 2},
		{"every second cluster", func(d *disk) {
			for c := int64(0); c < 400; c += 2 {
				d.allocate(c, 1)
			}
		}, 17},
	} {
		t.Run(tc.name, func(t *testing.T) {
			d := newDisk(64*mib, mib)
			tc.allocate(d)
			v := newView(t, d)
			if _, err := v.ReadAt(make([]byte, mib), v.layout.data+100); err != nil {
				t.Fatal(err)
			}
			if got := d.reads.Load(); got != tc.want {
				t.Errorf("1 MiB took %d reads of the source, not %d", got, tc.want)
			}
		})
	}
}

func TestNothingPastTheEnd(t *testing.T) {
	v := newView(t, newDisk(1, mib))
	for _, off := range []int64{v.Size(), v.Size() + 1, 1 << 62} {
		if n, err := v.ReadAt(make([]byte, 1), off); n != 0 || err != io.EOF {
			t.Errorf("read at %d: %d bytes, %v", off, n, err)
		}
	}
	if n, err := v.ReadAt(make([]byte, 1), -1); n != 0 || err == nil {
		t.Errorf("read at -1: %d bytes, %v", n, err)
	}
}

func TestSeekFindsOneHoleAtTheEnd(t *testing.T) {
	v := newView(t, newDisk(mib, mib))
	for _, off := range []int64{0, 1, v.Size() - 1} {
		if data, err := v.NextData(off); data != off || err != nil {
			t.Errorf("data from %d: %d, %v", off, data, err)
		}
		if hole, err := v.NextHole(off); hole != v.Size() || err != nil {
			t.Errorf("hole from %d: %d, %v", off, hole, err)
		}
	}
	for _, off := range []int64{-1, v.Size()} {
		_, dataErr := v.NextData(off)
		_, holeErr := v.NextHole(off)
		if dataErr != syscall.ENXIO || holeErr != syscall.ENXIO {
			t.Errorf("from %d: data %v, hole %v", off, dataErr, holeErr)
		}
	}
}

func TestReadsDoNotAllocate(t *testing.T) {
	d := newDisk(64*mib, mib)
	d.allocateRandomly(rand.New(rand.NewPCG(8, 9)), 0.5)
	v := newView(t, d)
	p := make([]byte, mib)
	for _, off := range []int64{3, v.layout.refBlocks + 3, v.layout.l2 + 3, v.layout.data + 3} {
		if n := testing.AllocsPerRun(10, func() { _, _ = v.ReadAt(p, off) }); n != 0 {
			t.Errorf("a read at %d allocates %v times", off, n)
		}
	}
}
