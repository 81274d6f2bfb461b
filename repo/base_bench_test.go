package repo_test

import (
	"encoding/binary"
	"fmt"
	"testing"

	"vaultfs/chunk"
	"vaultfs/repo"
	"vaultfs/repo/store"
)

// A disk of 64 GB as it is cut on average: in each segment 500 chunks, of which
// a benchmark keeps one grain each. Number n is what a chunk holds.
const (
	benchSegments = 1000
	benchChunks   = 500
	benchStride   = repo.SegmentSize / benchChunks / chunk.Grain * chunk.Grain
)

// benchMap puts the chunks of a segment; number gives what each holds.
func benchMap(b *testing.B, l *repo.Lane, number func(i int) uint64) (m repo.SegmentMap) {
	b.Helper()
	grain := make([]byte, chunk.Grain)
	for i := range benchChunks {
		binary.LittleEndian.PutUint64(grain, 1+number(i))
		id, err := l.Put(b.Context(), grain)
		if err != nil {
			b.Fatal(err)
		}
		m = append(m, repo.Extent{Off: int64(i) * benchStride, Len: chunk.Grain, ID: id})
	}
	return m
}

// benchBase commits the disk.
func benchBase(b *testing.B, r *repo.Repo) *repo.Snapshot {
	b.Helper()
	s, err := r.NewSession(b.Context(), repo.SessionOptions{Source: "vm/a"})
	if err != nil {
		b.Fatal(err)
	}
	w, l := s.NewDisk(), s.Lane()
	for n := range benchSegments {
		m := benchMap(b, l, func(i int) uint64 { return uint64(n*benchChunks + i) })
		if err := w.SetSegment(b.Context(), l, int64(n), m); err != nil {
			b.Fatal(err)
		}
	}
	return benchCommit(b, s, w, l)
}

func benchCommit(b *testing.B, s *repo.Session, w *repo.DiskWriter, l *repo.Lane) *repo.Snapshot {
	b.Helper()
	const size = benchSegments * repo.SegmentSize
	root, err := w.Finish(b.Context(), l, size)
	if err == nil {
		err = s.AddItem(repo.Item{Name: "vda", Kind: repo.ItemDisk, Size: size, Root: root})
	}
	var snap *repo.Snapshot
	if err == nil {
		snap, err = s.Commit(b.Context(), repo.Info{})
	}
	if err != nil {
		b.Fatal(err)
	}
	return snap
}

// The commit of an increment of a disk of 500,000 chunks of which 1 % changed:
// all in a row, or 5 in each segment. Beside it what the same commit costs when
// everything is walked, and OpenBase.
func BenchmarkIncrement(b *testing.B) {
	st, err := store.Create(b.TempDir() + "/repository")
	if err != nil {
		b.Fatal(err)
	}
	defer st.Close()
	initRepo(b, st)
	first := benchBase(b, reopen(b, st))
	generation := uint64(0)
	session := func(b *testing.B) (*repo.Session, *repo.Disk) {
		r, err := repo.Open(b.Context(), st, repo.OpenOptions{Password: []byte("secret")})
		if err != nil {
			b.Fatal(err)
		}
		s, err := r.NewSession(b.Context(), repo.SessionOptions{Source: "vm/a", Base: first})
		if err != nil {
			b.Fatal(err)
		}
		b.StartTimer()
		base, err := s.OpenBase(b.Context(), "vda")
		b.StopTimer()
		if err != nil {
			b.Fatal(err)
		}
		return s, base
	}
	b.Run("OpenBase", func(b *testing.B) {
		for range b.N {
			b.StopTimer()
			s, _ := session(b)
			s.Abort(b.Context())
		}
	})
	for _, c := range []struct {
		name    string
		changed func(n, i int) bool
	}{
		{"row", func(n, _ int) bool { return n < benchSegments/100 }},
		{"scattered", func(_, i int) bool { return i%100 == 0 }},
	} {
		for _, walk := range []bool{false, true} {
			b.Run(fmt.Sprintf("%s/walked=%v", c.name, walk), func(b *testing.B) {
				for range b.N {
					b.StopTimer()
					generation++
					s, base := session(b)
					w, l := s.NewDisk(), s.Lane()
					for n := range benchSegments {
						if c.name == "row" && !c.changed(n, 0) {
							if err := w.Inherit(base, int64(n)); err != nil {
								b.Fatal(err)
							}
							continue
						}
						m := benchMap(b, l, func(i int) uint64 {
							if c.changed(n, i) {
								return generation<<32 + uint64(n*benchChunks+i)
							}
							return uint64(n*benchChunks + i)
						})
						if err := w.SetSegment(b.Context(), l, int64(n), m); err != nil {
							b.Fatal(err)
						}
					}
					if walk {
						repo.WalkAll(s)
					}
					b.StartTimer()
					benchCommit(b, s, w, l)
				}
			})
		}
	}
}

// OpenBase in a repository of 6,400 packs, as 100 GB have.
func BenchmarkOpenBaseOfManyPacks(b *testing.B) {
	defer repo.TinyPacks()()
	st, err := store.Create(b.TempDir() + "/repository")
	if err != nil {
		b.Fatal(err)
	}
	defer st.Close()
	initRepo(b, st)
	r := reopen(b, st)
	defer r.Close()
	s, err := r.NewSession(b.Context(), repo.SessionOptions{Source: "vm/a"})
	if err != nil {
		b.Fatal(err)
	}
	w, l := s.NewDisk(), s.Lane()
	for n := range uint64(13) {
		m := benchMap(b, l, func(i int) uint64 { return n*benchChunks + uint64(i) })
		if err := w.SetSegment(b.Context(), l, int64(n), m); err != nil {
			b.Fatal(err)
		}
	}
	base := benchCommit(b, s, w, l)
	for b.Loop() {
		b.StopTimer()
		if s, err = r.NewSession(b.Context(), repo.SessionOptions{Source: "vm/a", Base: base}); err != nil {
			b.Fatal(err)
		}
		b.StartTimer()
		if _, err := s.OpenBase(b.Context(), "vda"); err != nil {
			b.Fatal(err)
		}
		b.StopTimer()
		if err := s.Abort(b.Context()); err != nil {
			b.Fatal(err)
		}
		b.StartTimer()
	}
}
