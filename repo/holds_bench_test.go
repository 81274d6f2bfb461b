package repo_test

import (
	"bytes"
	"context"
	"fmt"
	"testing"

	"vaultfs/repo"
)

// BenchmarkHolds asks of 5,000 small files of the snapshot before, one by one,
// whether they may be taken over.
func BenchmarkHolds(b *testing.B) {
	r := reopen(b, newInit(b))
	defer r.Close()
	store := func(ask bool) {
		s, err := r.NewSession(b.Context(), repo.SessionOptions{Source: "tree/a", Kind: "tree"})
		if err != nil {
			b.Fatal(err)
		}
		defer s.Abort(context.Background())
		w, dir := s.NewFileWriter(), s.NewDir()
		contents := make([]repo.Content, 5_000)
		for i := range contents {
			if contents[i], err = w.Put(b.Context(), bytes.NewReader(fmt.Appendf(nil, "file %d", i))); err != nil {
				b.Fatal(err)
			}
			e := benchEntry(i)
			e.Content = contents[i]
			if err := dir.Add(b.Context(), e); err != nil {
				b.Fatal(err)
			}
		}
		if !ask {
			root := &repo.Entry{Mode: 0o40755}
			if err = dir.Finish(b.Context(), root); err == nil {
				_, err = s.AddTree(b.Context(), repo.WholeTree, root)
			}
			if err == nil {
				_, err = s.Commit(b.Context(), repo.Info{})
			}
			if err != nil {
				b.Fatal(err)
			}
			return
		}
		b.ReportAllocs()
		for i := 0; b.Loop(); i++ {
			if !s.Holds(b.Context(), contents[i*7919%len(contents)]) {
				b.Fatal("a stored file is not held")
			}
		}
	}
	store(false)
	store(true)
}
