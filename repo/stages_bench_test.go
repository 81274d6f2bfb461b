package repo_test

import (
	"encoding/binary"
	"math/rand/v2"
	"testing"

	"vaultfs/chunk"
	"vaultfs/repo"
)

// benchGrains is a disk's data of n bytes: in each grain a half is of a few words,
// the rest noise, and no two are equal.
func benchGrains(n int) []byte {
	p := random(1, n)
	for off := 0; off < n; off += chunk.Grain {
		for i := 0; i < chunk.Grain/2; i += 16 {
			copy(p[off+i:], "lib/x86_64/const")
		}
		binary.LittleEndian.PutUint64(p[off+64:], uint64(off))
	}
	return p
}

// BenchmarkPut puts chunks of 128 KiB: each new, and each stored already.
func BenchmarkPut(b *testing.B) {
	const size = 128 << 10
	data := benchGrains(64 * size)
	b.Run("new", func(b *testing.B) {
		l := benchSession(b).Lane()
		b.SetBytes(size)
		b.ReportAllocs()
		for i := 0; b.Loop(); i++ {
			p := data[i%64*size:][:size]
			binary.LittleEndian.PutUint64(p[size-8:], uint64(i))
			if _, err := l.Put(b.Context(), p); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("stored", func(b *testing.B) {
		l := benchSession(b).Lane()
		for i := range 64 {
			if _, err := l.Put(b.Context(), data[i*size:][:size]); err != nil {
				b.Fatal(err)
			}
		}
		b.SetBytes(size)
		b.ReportAllocs()
		for i := 0; b.Loop(); i++ {
			if _, err := l.Put(b.Context(), data[i%64*size:][:size]); err != nil {
				b.Fatal(err)
			}
		}
	})
}

// benchDisk is a disk of 64 MiB, stored as it is cut.
func benchDisk(b *testing.B) *repo.Disk {
	b.Helper()
	r := reopen(b, newInit(b))
	b.Cleanup(func() { r.Close() })
	s, err := r.NewSession(b.Context(), repo.SessionOptions{Source: "vm/a"})
	if err != nil {
		b.Fatal(err)
	}
	w, l, cutter, data := s.NewDisk(), s.Lane(), r.DiskCutter(), benchGrains(repo.SegmentSize)
	var m repo.SegmentMap
	for off := 0; off < len(data); {
		zeros, n := cutter.Next(data[off:], true)
		off += zeros
		id, err := l.Put(b.Context(), data[off:off+n])
		if err != nil {
			b.Fatal(err)
		}
		m = append(m, repo.Extent{Off: int64(off), Len: int64(n), ID: id})
		off += n
	}
	if err := w.SetSegment(b.Context(), l, 0, m); err != nil {
		b.Fatal(err)
	}
	root, err := w.Finish(b.Context(), l, repo.SegmentSize)
	if err != nil {
		b.Fatal(err)
	}
	if err := s.AddItem(repo.Item{Name: "vda", Kind: repo.ItemDisk, Size: repo.SegmentSize, Root: root}); err != nil {
		b.Fatal(err)
	}
	snap, err := s.Commit(b.Context(), repo.Info{})
	if err != nil {
		b.Fatal(err)
	}
	d, err := r.OpenDisk(b.Context(), *snap.Item("vda"))
	if err != nil {
		b.Fatal(err)
	}
	return d
}

// BenchmarkDiskRead reads a stored disk by offset: each look-up in a map, in the
// index, and, for what the cache does not hold, the opening of a chunk.
func BenchmarkDiskRead(b *testing.B) {
	d := benchDisk(b)
	for _, c := range []struct {
		name string
		size int64
		next func(i int64) int64
	}{
		{"sequential128KiB", 128 << 10, func(i int64) int64 { return i * (128 << 10) % repo.SegmentSize }},
		{"random4KiB", 4 << 10, func(int64) int64 { return rand.Int64N(repo.SegmentSize/4096) * 4096 }},
	} {
		b.Run(c.name, func(b *testing.B) {
			p := make([]byte, c.size)
			b.SetBytes(c.size)
			b.ReportAllocs()
			for i := int64(0); b.Loop(); i++ {
				if _, err := d.ReadAt(p, c.next(i)); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
