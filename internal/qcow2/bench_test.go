package qcow2

import (
	"math/rand/v2"
	"testing"
)

// The benchmarks' source fills with zeros at memory speed, so what they show
// over BenchmarkSourceAlone is the view's own work.

const benchSize = 64 * gib

// memory is a source whose reads cost one pass over the bytes.
type memory struct{ fullDisk }

func (memory) ReadAt(p []byte, _ int64) (int, error) {
	clear(p)
	return len(p), nil
}

func BenchmarkSourceAlone(b *testing.B) {
	src, p := memory{fullDisk{benchSize, 64 * mib}}, make([]byte, mib)
	b.SetBytes(mib)
	for b.Loop() {
		_, _ = src.ReadAt(p, 0)
	}
}

func benchmarkReads(b *testing.B, v *View, length int64, next func(i int64) int64) {
	p := make([]byte, length)
	b.SetBytes(length)
	b.ReportAllocs()
	i := int64(0)
	for b.Loop() {
		if _, err := v.ReadAt(p, next(i)); err != nil {
			b.Fatal(err)
		}
		i++
	}
}

func BenchmarkSequential1MiB(b *testing.B) {
	v := newView(b, memory{fullDisk{benchSize, 64 * mib}})
	benchmarkReads(b, v, mib, func(i int64) int64 { return v.layout.data + i*mib%benchSize })
}

// BenchmarkFragmented1MiB reads a disk of which every second cluster is allocated.
func BenchmarkFragmented1MiB(b *testing.B) {
	d := newDisk(gib, 64*mib)
	for c := int64(0); c < d.clusters(); c += 2 {
		d.allocate(c, 1)
	}
	d.zeros = true
	v := newView(b, d)
	benchmarkReads(b, v, mib, func(i int64) int64 { return v.layout.data + i*mib%(gib/2) })
}

func BenchmarkRandom4KiB(b *testing.B) {
	rng := rand.New(rand.NewPCG(19, 20))
	v := newView(b, memory{fullDisk{64 * tib, 64 * mib}})
	benchmarkReads(b, v, 4096, func(int64) int64 { return v.layout.data + rng.Int64N(64*tib/4096)*4096 })
}

func BenchmarkL2Table(b *testing.B) {
	v := newView(b, memory{fullDisk{benchSize, 64 * mib}})
	benchmarkReads(b, v, clusterSize, func(i int64) int64 { return v.layout.l2 + i%128*clusterSize })
}

func BenchmarkNewFull64TiB(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		newView(b, fullDisk{64 * tib, 64 * mib})
	}
}
