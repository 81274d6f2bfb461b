package repo_test

import (
	"bytes"
	"errors"
	"io"
	"testing"
	"testing/iotest"

	"vaultfs/chunk"
	"vaultfs/repo"
)

// Parts that are stored in any order are one stream in the order in which they
// are joined.
func TestPartsOfAStreamAreJoined(t *testing.T) {
	r := newRepo(t, newStore(t))
	s, err := r.NewSession(t.Context(), repo.SessionOptions{Source: "pg/x", Kind: "pg"})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Abort(t.Context())
	parts := map[string][]byte{"head": random(1, 700), "data": random(2, 5<<20), "none": nil}
	stored := map[string]*repo.StreamPart{}
	for _, name := range []string{"data", "head", "none"} {
		if stored[name], err = s.PutPart(t.Context(), bytes.NewReader(parts[name])); err != nil || stored[name].Size() != int64(len(parts[name])) {
			t.Fatalf("%s: %d bytes (%v)", name, stored[name].Size(), err)
		}
	}
	root, size, err := s.JoinParts(t.Context(), stored["head"], stored["none"], stored["data"], stored["head"])
	if err == nil {
		err = s.AddItem(repo.Item{Name: "x", Kind: repo.ItemFile, Size: size, Root: root})
	}
	if err != nil {
		t.Fatal(err)
	}
	snap, err := s.Commit(t.Context(), repo.Info{})
	if err != nil {
		t.Fatal(err)
	}
	f, err := r.OpenFile(t.Context(), snap.Items[0])
	if err != nil {
		t.Fatal(err)
	}
	got, err := io.ReadAll(io.NewSectionReader(f, 0, f.Size()))
	if want := bytes.Join([][]byte{parts["head"], parts["data"], parts["head"]}, nil); err != nil || !bytes.Equal(got, want) {
		t.Errorf("%d bytes come back, want %d (%v)", len(got), len(want), err)
	}
	other, err := r.NewSession(t.Context(), repo.SessionOptions{Source: "pg/y", Kind: "pg"})
	if err != nil {
		t.Fatal(err)
	}
	defer other.Abort(t.Context())
	if _, _, err := other.JoinParts(t.Context(), stored["head"]); err == nil {
		t.Error("a part of another session is taken")
	}
}

// A reader that says of itself that it was cut off is an error, however little
// it has given.
func TestStreamThatIsCutOffIsNotStored(t *testing.T) {
	r := newRepo(t, newStore(t))
	s, err := r.NewSession(t.Context(), repo.SessionOptions{Source: "stdin/x", Kind: "stdin"})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Abort(t.Context())
	for _, size := range []int{0, 1, 1000, chunk.StreamMin, chunk.StreamMin + 1, 3 << 20} {
		cut := func() io.Reader {
			return io.MultiReader(bytes.NewReader(random(1, size)), iotest.ErrReader(io.ErrUnexpectedEOF))
		}
		if c, err := s.NewFileWriter().Put(t.Context(), cut()); !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("%d bytes are stored as a file of %d bytes (%v)", size, c.Size, err)
		}
		if _, n, err := s.PutStream(t.Context(), cut()); !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("%d bytes are stored as a stream of %d bytes (%v)", size, n, err)
		}
	}
}
