package ingest

import (
	"context"
	"math/rand/v2"
	"testing"

	"vaultfs/chunk"
	"vaultfs/repo"
)

// benchmarkCopies measures CopyChanged and, of the same image, CopyDisk. The
// repository holds all chunks after the first round: what is measured is the
// reading, cutting and looking up.
func benchmarkCopies(b *testing.B, before *guestDisk, writes ...write) {
	r := newRepo(b)
	base := full(b, r, before)
	img, dirty := before.with(writes...)
	s := session(b, r, base)
	disk := openBase(b, s)
	mustCopy(b, s, img)
	round := func(name string, copy func() error) {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			img.read.Store(0)
			for b.Loop() {
				if err := copy(); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(img.read.Load())/float64(b.N), "read/op")
		})
	}
	round("changed", func() error {
		_, err := CopyChanged(b.Context(), s, img, these(dirty), disk, new(Progress))
		return err
	})
	round("whole", func() error {
		_, err := CopyDisk(b.Context(), s, img, new(Progress))
		return err
	})
	round("whole along the base", func() error {
		_, err := CopyDiskFrom(b.Context(), s, img, disk, new(Progress))
		return err
	})
	round("audit of 4 MiB", func() error {
		_, err := Audit(b.Context(), r, img, these(dirty), disk, AuditOptions{Budget: 4 << 20}, new(Progress))
		return err
	})
}

// denseDisk has 256 MiB of data.
func denseDisk() *guestDisk {
	g, _ := newDisk(100 << 30).with(write{off: 3 << 30, n: 256 << 20})
	return g
}

func BenchmarkNothingDirty(b *testing.B) {
	g := newDisk(1 << 40)
	var writes []write
	for off := int64(0); off < g.size; off += 256 << 20 {
		writes = append(writes, write{off: off, n: 64 << 10})
	}
	g, _ = g.with(writes...)
	benchmarkCopies(b, g)
}

func BenchmarkOnePercent(b *testing.B) {
	g := denseDisk()
	rng := rand.New(rand.NewPCG(1, 1))
	var writes []write
	for range 41 { // blocks of 64 KiB
		writes = append(writes, write{off: 3<<30 + rng.Int64N(256<<20/cluster)*cluster, n: 4096})
	}
	benchmarkCopies(b, g, writes...)
}

func BenchmarkOneRun(b *testing.B) {
	benchmarkCopies(b, denseDisk(), write{off: 3<<30 + repo.SegmentSize + 5<<20, n: 20 << 20})
}

// BenchmarkFollow measures the cutting of a segment in memory, with the naming of
// its chunks: afresh, along a map of the same bytes, of bytes of which 1 % of the
// 64 KiB blocks differ, and of others altogether. "cut" is the cutter alone.
func BenchmarkFollow(b *testing.B) {
	p, changed, other := make([]byte, repo.SegmentSize), make([]byte, repo.SegmentSize), make([]byte, repo.SegmentSize)
	noise(1, p)
	copy(changed, p)
	rng := rand.New(rand.NewPCG(1, 1))
	for i := range uint64(len(p) / cluster / 100) {
		noise(10+i, changed[rng.IntN(len(p)/cluster)*cluster:][:chunk.Grain])
	}
	noise(2, other)
	namer := chunk.NewNamer([32]byte{1})
	along := func(base repo.SegmentMap, p []byte) repo.SegmentMap {
		f := &follower{cutter: testCutter, base: base, inStep: true, name: namer.Name, kept: func(int64) {},
			put: func(context.Context, chunk.ID, []byte) error { return nil }}
		for off := int64(0); off < int64(len(p)); {
			zeros, n, err := f.next(b.Context(), p[off:], off, true)
			if err != nil {
				b.Fatal(err)
			}
			off += int64(zeros + n)
		}
		return f.made
	}
	b.Run("cut", func(b *testing.B) {
		b.SetBytes(int64(len(p)))
		for b.Loop() {
			for off := 0; off < len(p); {
				zeros, n := testCutter.Next(p[off:], true)
				off += zeros + n
			}
		}
	})
	for _, c := range []struct {
		name string
		base repo.SegmentMap
	}{{"afresh", nil}, {"unchanged", along(nil, p)}, {"scattered", along(nil, changed)}, {"all new", along(nil, other)}} {
		b.Run(c.name, func(b *testing.B) {
			b.SetBytes(int64(len(p)))
			for b.Loop() {
				along(c.base, p)
			}
		})
	}
}
