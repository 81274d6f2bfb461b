package repo_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"testing"
	"testing/iotest"

	"golang.org/x/sync/errgroup"
	"vaultfs/repo"
)

// Streams of many chunks, several at once and each put by several goroutines,
// come back as they were. Nothing is put any more when a writer has returned.
func TestChunksOfAStreamArePutAtOnceAndInOrder(t *testing.T) {
	r := newRepo(t, newStore(t))
	s, err := r.NewSession(t.Context(), repo.SessionOptions{Source: "stdin/x", Kind: "stdin"})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Abort(t.Context())
	data := make([][]byte, 4)
	var all errgroup.Group
	for i := range data {
		data[i] = append(random(uint64(i), 6<<20), bytes.Repeat([]byte{byte(i)}, 5<<20)...)
		all.Go(func() error {
			_, err := s.AddFile(t.Context(), fmt.Sprint(i), iotest.HalfReader(bytes.NewReader(data[i])))
			return err
		})
	}
	if err := all.Wait(); err != nil {
		t.Fatal(err)
	}
	if n := repo.Helpers(); n != 0 {
		t.Errorf("%d goroutines still put chunks", n)
	}
	snap, err := s.Commit(t.Context(), repo.Info{})
	if err != nil {
		t.Fatal(err)
	}
	for i := range data {
		f, err := r.OpenFile(t.Context(), *snap.Item(fmt.Sprint(i)))
		if err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(io.NewSectionReader(f, 0, f.Size()))
		if err != nil || !bytes.Equal(got, data[i]) {
			t.Errorf("stream %d: %d bytes come back, want %d (%v)", i, len(got), len(data[i]), err)
		}
	}
}

// A source that fails in the middle fails the stream, and leaves nothing behind
// that still puts its chunks.
func TestStreamThatFailsWhileItsChunksArePut(t *testing.T) {
	r := newRepo(t, newStore(t))
	s, err := r.NewSession(t.Context(), repo.SessionOptions{Source: "stdin/x", Kind: "stdin"})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Abort(t.Context())
	broken := errors.New("the pipe broke")
	_, _, err = s.PutStream(t.Context(), io.MultiReader(bytes.NewReader(random(1, 8<<20)), iotest.ErrReader(broken)))
	if !errors.Is(err, broken) {
		t.Errorf("the error is %v", err)
	}
	if n := repo.Helpers(); n != 0 {
		t.Errorf("%d goroutines still put chunks", n)
	}
}
