package measure

import (
	"math"
	"testing"
	"time"
)

// With little room the sums are still about right, and no more is kept than is
// allowed.
func TestSketchWithLittleRoom(t *testing.T) {
	const chunks, limit = 200_000, 4000
	s, compressed := newSketch(limit, 10<<20), int64(0)
	var want Amount
	for i := range uint64(chunks) {
		f, plain := mix(i), int(1000+mix(i^7)%1000)
		stored := plain / 4
		for range 1 + i%3 { // some come again
			if s.see(f, plain, int(i%2)) {
				s.pack(f, stored)
				compressed += int64(plain)
			}
		}
		want.Chunks, want.Bytes, want.Stored = want.Chunks+1, want.Bytes+int64(plain), want.Stored+int64(stored)
		if len(s.kept) > limit {
			t.Fatalf("%d are kept", len(s.kept))
		}
	}
	near := func(what string, got, want int64, within float64) {
		if off := math.Abs(float64(got)/float64(want) - 1); off > within {
			t.Errorf("%s: %d, want about %d", what, got, want)
		}
	}
	all := s.of(-1)
	near("chunks", all.Chunks, want.Chunks, 0.1)
	near("bytes", all.Bytes, want.Bytes, 0.1)
	near("stored", all.Stored, want.Stored, 0.1)
	near("the stored share", all.Stored*1000/all.Bytes, 250, 0.01)
	one, two := s.of(0), s.of(1)
	near("one disk", one.Bytes, want.Bytes/2, 0.15)
	if one.Bytes+two.Bytes != all.Bytes {
		t.Errorf("%+v and %+v are not %+v", one, two, all)
	}
	if s.oneIn() < 64 || s.oneIn() > 128 || compressed > 60<<20 {
		t.Errorf("one in %d, %d bytes compressed", s.oneIn(), compressed)
	}
	if s.chunks != chunks*2-1 && s.chunks != chunks*2 {
		t.Errorf("%d chunks seen", s.chunks)
	}
}

func TestProject(t *testing.T) {
	disk := func(used, fresh, stored int64) *Disk {
		return &Disk{Data: used, Read: used, New: Amount{Bytes: fresh, Stored: stored}, Shared: used - fresh}
	}
	first, other := disk(1000, 1000, 400), disk(500, 300, 100)
	for _, c := range []struct {
		disks []*Disk
		every time.Duration
		want  Growth
	}{
		{[]*Disk{first, disk(1000, 100, 50), disk(1000, 60, 30)}, 24 * time.Hour, Growth{40, 1200, true, 2}},
		{[]*Disk{first, other, disk(1000, 100, 50)}, 12 * time.Hour, Growth{50, 3000, true, 1}},
		{[]*Disk{first}, 24 * time.Hour, Growth{40, 1200, false, 0}},        // a tenth of 400
		{[]*Disk{first, other}, 24 * time.Hour, Growth{57, 1730, false, 0}}, // of 1500 × 500/1300
		{[]*Disk{{}}, 24 * time.Hour, Growth{}},
	} {
		got := Project(c.disks, c.every, 0.1)
		if got.Each != c.want.Each || math.Abs(float64(got.Month-c.want.Month)) > 30 || got.Observed != c.want.Observed || got.Backups != c.want.Backups {
			t.Errorf("%+v, want %+v", got, c.want)
		}
	}
}

func TestTable(t *testing.T) {
	small := newTable(1000)
	again := 0
	for i := range uint64(1000) {
		if !small.take(mix(i)) {
			t.Fatal("it was there before it came")
		}
	}
	for i := range uint64(1000) {
		if !small.take(mix(i)) {
			again++
		}
	}
	if again < 990 {
		t.Errorf("%d of 1000 are known", again)
	}
	if huge := newTable(1 << 50); len(huge.buckets)*bucketSize*8 > tableMost {
		t.Errorf("%d buckets", len(huge.buckets))
	}
}
