package ingest

import (
	"math/rand/v2"
	"strings"
	"testing"

	"vaultfs/repo"
)

// threeAndABit is a disk of three segments and a bit, with an odd end: one
// segment dense, one of zeros, two sparse.
func threeAndABit() *guestDisk {
	g := newDisk(3*repo.SegmentSize + 9<<20 + 1536)
	writes := []write{{off: 0, n: 4 << 20}, {off: 2*repo.SegmentSize - 100<<10, n: 300 << 10},
		{off: 2*repo.SegmentSize + 30<<20, n: 1 << 20}, {off: g.size - 5000, n: 5000}}
	for off := int64(24 << 20); off < 40<<20; off += 1 << 20 {
		writes = append(writes, write{off: off, n: 300 << 10}, write{off: off + 50<<10, n: 20 << 10, zeros: true})
	}
	g, _ = g.with(writes...)
	return g
}

// scattered are n writes of 4 KiB at random.
func scattered(rng *rand.Rand, size int64, n int) (w []write) {
	for range n {
		w = append(w, write{off: rng.Int64N(size/4096-1) * 4096, n: 4096})
	}
	return w
}

// A changedCase is a change and what is to be seen of the copying.
type changedCase struct {
	name   string
	writes []write
	cut    int64 // segments that are cut
	whole  bool  // more is read than is dirty
}

func changedCases(size int64) []changedCase {
	const seg = repo.SegmentSize
	return []changedCase{
		{name: "nothing"},
		{name: "one grain", writes: []write{{off: 5 << 20, n: 4096}}, cut: 1},
		{name: "a few bytes across a border", writes: []write{{off: seg - 100, n: 200}}, cut: 2},
		{name: "the end", writes: []write{{off: size - 10, n: 10}}, cut: 1},
		{name: "a chunk that reaches the end", writes: []write{{off: 3*seg + 1<<20, n: 3 << 20}, {off: size - 4000, n: 1000}}, cut: 1},
		{name: "into a hole", writes: []write{{off: seg + 9<<20, n: 3 << 20}}, cut: 1},
		{name: "behind a chunk", writes: []write{{off: 24<<20 + 300<<10, n: 70 << 10}}, cut: 1},
		{name: "trim", writes: []write{{off: 2 << 20, n: 25 << 20, zeros: true}}, cut: 1},
		{name: "trim of odd bytes", writes: []write{{off: 2<<20 + 777, n: 25 << 20, zeros: true}}, cut: 1},
		{name: "a segment becomes zeros", writes: []write{{off: 2 * seg, n: seg, zeros: true}}, cut: 1},
		{name: "most of a segment is trimmed", writes: []write{{off: 100, n: 36 << 20, zeros: true}}, cut: 1},
		{name: "most of a segment", writes: []write{{off: 100, n: 36 << 20}}, cut: 1, whole: true},
		{name: "all", writes: []write{{n: repo.SegmentSize / 2}, {off: repo.SegmentSize / 2, n: size - repo.SegmentSize/2, zeros: true}}, cut: 4},
		{name: "scattered", writes: scattered(rand.New(rand.NewPCG(1, 2)), size, 60), cut: 4},
	}
}

// TestCopyChangedIsCopyDisk: both make the same disk of an image, and only what
// is dirty is read.
func TestCopyChangedIsCopyDisk(t *testing.T) {
	r, before := newRepo(t), threeAndABit()
	base := full(t, r, before)
	for _, c := range changedCases(before.size) {
		t.Run(c.name, func(t *testing.T) {
			img, dirty := before.with(c.writes...)
			s := session(t, r, base)
			p := new(Progress)
			total, err := ChangedBytes(t.Context(), img, these(dirty))
			if err != nil {
				t.Fatal(err)
			}
			p.Total.Add(total)
			got, err := CopyChanged(t.Context(), s, img, these(dirty), openBase(t, s), p)
			if err != nil {
				t.Fatal(err)
			}
			read := img.read.Load()
			if want := mustCopy(t, s, img); got.Root != want {
				t.Errorf("root %v, CopyDisk makes %v", got.Root, want)
			}
			if got.Dirty != length(dirty) || got.Cut != c.cut || got.Kept != 4-c.cut || got.Lost != 0 || got.Lie != nil {
				t.Errorf("%+v, %d bytes are dirty", got, length(dirty))
			}
			if read > 2*total || (read > total) != c.whole {
				t.Errorf("%d bytes were read, %d are dirty and hold data", read, total)
			}
			if p.Read.Load() != read || grains(p.Done.Load()) != grains(p.Total.Load()) {
				t.Errorf("%d of %d done, %d read of %d", p.Done.Load(), p.Total.Load(), p.Read.Load(), read)
			}
			d, err := r.OpenDisk(t.Context(), commit(t, s, got.Root, img.size).Items[0])
			if err != nil {
				t.Fatal(err)
			}
			img.same(t, d)
		})
	}
}

// Increments of increments are what full copies are, and come back.
func TestIncrementsInARow(t *testing.T) {
	r, disk := newRepo(t), threeAndABit()
	snap := full(t, r, disk)
	rng := rand.New(rand.NewPCG(8, 8))
	for round := range 6 {
		writes := scattered(rng, disk.size, 1+rng.IntN(20))
		for range rng.IntN(4) {
			off := rng.Int64N(disk.size)
			writes = append(writes, write{off: off, n: min(rng.Int64N(3<<20), disk.size-off), zeros: rng.IntN(2) == 0})
		}
		var dirty []Run
		disk, dirty = disk.with(writes...)
		s := session(t, r, snap)
		got, err := CopyChanged(t.Context(), s, disk, these(dirty), openBase(t, s), new(Progress))
		if err != nil {
			t.Fatal(err)
		}
		snap = commit(t, s, got.Root, disk.size)
		disk.same(t, openDisk(t, r, snap))
		if whole := full(t, r, disk); whole.Items[0].Root != got.Root {
			t.Errorf("round %d: root %v, CopyDisk makes %v", round, got.Root, whole.Items[0].Root)
		}
	}
}

// Where the image says that there are zeros now, a bitmap that calls data clean
// is found out, and the segment is right nevertheless.
func TestCopyChangedSeesALie(t *testing.T) {
	r, before := newRepo(t), threeAndABit()
	s := session(t, r, full(t, r, before))
	img, _ := before.with(write{off: 2 << 20, n: 1 << 20, zeros: true})
	img, dirty := img.with(write{off: 3<<20 + 100, n: 100})
	got, err := CopyChanged(t.Context(), s, img, these(dirty), openBase(t, s), new(Progress))
	if err != nil {
		t.Fatal(err)
	}
	if got.Lie == nil || got.Lie.Off != 2<<20 || got.Lie.Len != 1<<20 || !got.Root.IsZero() {
		t.Errorf("%+v", got)
	}
	snap := commit(t, s, mustCopy(t, s, img), img.size)
	img.same(t, openDisk(t, r, snap))
	if strings.Contains(snap.Info.Verified, "taken over") {
		t.Errorf("nothing was taken over, but: %s", snap.Info.Verified)
	}
}

// A disk that was made smaller and large again has lost its end, of which QEMU's
// bitmap says nothing: no segment is even dirty.
func TestCopyChangedSeesALostEnd(t *testing.T) {
	r, before := newRepo(t), threeAndABit()
	s := session(t, r, full(t, r, before))
	img, _ := before.with(write{off: 2 * repo.SegmentSize, n: before.size - 2*repo.SegmentSize, zeros: true})
	got, err := CopyChanged(t.Context(), s, img, these(nil), openBase(t, s), new(Progress))
	if err != nil || got.Lie == nil || got.Lie.Off < 2*repo.SegmentSize {
		t.Errorf("%+v %v", got, err)
	}
}

// After a lie nothing more is read, and the progress that is told of what there
// was to read has room for the disk as a whole.
func TestCopyChangedEndsAtALie(t *testing.T) {
	r, before := newRepo(t), threeAndABit()
	s := session(t, r, full(t, r, before))
	img, _ := before.with(write{off: 2 << 20, n: 1 << 20, zeros: true})
	img, dirty := img.with(write{off: 3<<20 + 100, n: 100}, write{off: repo.SegmentSize, n: 30 << 20},
		write{off: 2 * repo.SegmentSize, n: 30 << 20}, write{off: 3 * repo.SegmentSize, n: 5 << 20})
	p := new(Progress)
	p.Total.Add(mustCount(t, img, dirty))
	got, err := CopyChanged(t.Context(), s, img, these(dirty), openBase(t, s), p)
	if err != nil || got.Lie == nil {
		t.Fatal(got, err)
	}
	if read := img.read.Load(); read > 62<<20 || p.Total.Load() != p.Done.Load() || got.Dirty != length(dirty) {
		t.Errorf("%d bytes were read; %d of %d are done; %d are dirty, want %d", read, p.Done.Load(), p.Total.Load(), got.Dirty, length(dirty))
	}
}
