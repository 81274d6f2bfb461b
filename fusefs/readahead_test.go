package fusefs

import (
	"cmp"
	"math/rand/v2"
	"slices"
	"testing"
)

func newTestReadAhead(size int64) (*readAhead, *fakeDisk) {
	d := &fakeDisk{size: size, record: true}
	return &readAhead{disk: d}, d
}

// checkCovered sees to it that what was asked for is the whole of [from, to), in
// order and not much more than a window ahead.
func checkCovered(t *testing.T, asked [][2]int64, from, to int64) {
	t.Helper()
	at := from
	for _, a := range asked {
		if a[0] < from || a[0] > at || a[1] <= 0 || a[1] > lastWindow {
			t.Fatalf("asked for %d bytes at %d, wanted what follows %d", a[1], a[0], at)
		}
		from, at = a[0], max(at, a[0]+a[1])
	}
	if at != to {
		t.Fatalf("asked up to %d, want %d", at, to)
	}
}

// covered is how many bytes were asked for, each counted once.
func covered(asked [][2]int64) (n int64) {
	slices.SortFunc(asked, func(a, b [2]int64) int { return cmp.Compare(a[0], b[0]) })
	end := int64(0)
	for _, a := range asked {
		n += max(0, a[0]+a[1]-max(a[0], end))
		end = max(end, a[0]+a[1])
	}
	return n
}

func TestReadAheadOfSequentialReaders(t *testing.T) {
	const size, n = 256 << 20, 128 << 10
	for name, order := range map[string][]int64{
		"in order":     {0, 1, 2, 3, 4, 5, 6, 7},
		"out of order": {1, 0, 2, 4, 3, 7, 5, 6},
	} {
		t.Run(name, func(t *testing.T) {
			r, d := newTestReadAhead(size)
			for row := int64(0); row < size; row += n * int64(len(order)) {
				for _, i := range order {
					r.observe(row+i*n, n)
				}
			}
			first := d.prefetched[0][0]
			if first > 8*n {
				t.Errorf("recognised after %d bytes", first)
			}
			checkCovered(t, d.prefetched, first, size)
			if calls := len(d.prefetched); calls > 300 {
				t.Errorf("%d calls", calls)
			}
		})
	}
}

func TestRandomReadersAskForNothing(t *testing.T) {
	const size = 64 << 30
	r, d := newTestReadAhead(size)
	for range 100000 {
		r.observe(rand.Int64N(size/4096)*4096, 4096)
	}
	if len(d.prefetched) > 0 {
		t.Errorf("asked %d times", len(d.prefetched))
	}
}

// TestReadersAmongOthers has four sequential readers and random ones in turn.
func TestReadersAmongOthers(t *testing.T) {
	const size, n = 64 << 30, 64 << 10
	r, d := newTestReadAhead(size)
	for step := range int64(1000) {
		for reader := range int64(4) {
			r.observe(reader*(size/4)+step*n, n)
			r.observe(rand.Int64N(size/4096)*4096, 4096)
			r.observe(rand.Int64N(size/4096)*4096, 4096)
		}
	}
	if got, want := covered(d.prefetched), int64(4*1000*n); got < want*9/10 || got > want+4*2*lastWindow {
		t.Errorf("asked for %d bytes, the readers read %d", got, want)
	}
}

// TestReaderThatLeavesHolesOut reads every second mebibyte of a disk that has
// nothing else.
func TestReaderThatLeavesHolesOut(t *testing.T) {
	const size, run = 256 << 20, 1 << 20
	r, d := newTestReadAhead(size)
	for off := int64(0); off < size; off += 2 * run {
		for b := off; b < off+run; b += blockSize {
			d.blocks = append(d.blocks, b/blockSize)
		}
	}
	for off := int64(0); off < size; off += 2 * run {
		for b := off; b < off+run; b += 64 << 10 {
			r.observe(b, 64<<10)
		}
	}
	checkCovered(t, d.prefetched, d.prefetched[0][0], size)
}

func BenchmarkObserveRandom(b *testing.B) {
	const size = 64 << 30
	r, _ := newTestReadAhead(size)
	for b.Loop() {
		r.observe(rand.Int64N(size/4096)*4096, 4096)
	}
}
