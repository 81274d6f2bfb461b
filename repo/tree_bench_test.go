package repo_test

import (
	"bytes"
	"context"
	"fmt"
	"testing"

	"vaultfs/repo"
	"vaultfs/repo/format"
)

// benchSession is a session that stores to memory and is given up at the end.
func benchSession(b *testing.B) *repo.Session {
	b.Helper()
	r := reopen(b, newInit(b))
	s, err := r.NewSession(b.Context(), repo.SessionOptions{Source: "tree/a", Kind: "tree"})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		s.Abort(context.Background())
		r.Close()
	})
	return s
}

func BenchmarkFileWriter(b *testing.B) {
	for _, size := range []int{100, 4 << 10, 100 << 10, 1 << 20, 16 << 20} {
		b.Run(fmt.Sprint(size), func(b *testing.B) {
			w, data := benchSession(b).NewFileWriter(), random(1, size)
			b.SetBytes(int64(size))
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				copy(data, fmt.Sprint(i)) // each is new
				if _, err := w.Put(b.Context(), bytes.NewReader(data)); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// benchEntry is the entry of a small file.
func benchEntry(i int) *repo.Entry {
	e := &repo.Entry{Name: fmt.Sprintf("file-%07d.txt", i), Mode: format.TypeRegular | 0o644, UID: 1000, GID: 1000, Inode: uint64(i), Links: 1, Blocks: 8,
		Mtime: repo.Timestamp{Sec: 1_790_000_000, Nsec: uint32(i*7919) % 1e9}, Content: repo.Content{Kind: format.ChunkContent, Size: 100}}
	copy(e.Content.ID[:], random(uint64(i), 32))
	return e
}

// BenchmarkDirWriter stores a directory of 10,000 files.
func BenchmarkDirWriter(b *testing.B) {
	s := benchSession(b)
	entries := make([]*repo.Entry, 10_000)
	for i := range entries {
		entries[i] = benchEntry(i)
	}
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		w := s.NewDir()
		for _, e := range entries {
			e.Inode += 1 << 32 // each is new
			if err := w.Add(b.Context(), e); err != nil {
				b.Fatal(err)
			}
		}
		if err := w.Finish(b.Context(), &repo.Entry{Mode: format.TypeDirectory}); err != nil {
			b.Fatal(err)
		}
	}
}

// benchTree is a directory of 100,000 small files.
func benchTree(b *testing.B) *repo.Tree {
	b.Helper()
	r := reopen(b, newInit(b))
	b.Cleanup(func() { r.Close() })
	tree, err := r.OpenTree(b.Context(), storeTree(b, r, "tree/a", manyFiles(100_000)).Items[0])
	if err != nil {
		b.Fatal(err)
	}
	return tree
}

func BenchmarkLookup(b *testing.B) {
	tree := benchTree(b)
	for i := 0; b.Loop(); i++ {
		if _, err := tree.Lookup(b.Context(), tree.Root(), fmt.Sprintf("file-%07d", i*7919%100_000*7)); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkEntries goes through 100,000 entries.
func BenchmarkEntries(b *testing.B) {
	tree := benchTree(b)
	for b.Loop() {
		for _, err := range tree.Entries(b.Context(), tree.Root(), "") {
			if err != nil {
				b.Fatal(err)
			}
		}
	}
}
