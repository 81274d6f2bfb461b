package main

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"io/fs"
	"maps"
	"math/rand/v2"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// piece is the unit in which the sources change, in bytes.
const piece = 64 << 10

// A busySource is ingested again and again, and is another one each time. What it
// holds says in which round it was made, so that a snapshot can be compared even if
// nobody saw how its ingest ended.
type busySource struct {
	name   string // in the repository: "disk/a"
	dir    string // for what it is made of
	pieces int
	rnd    *rand.Rand

	round int
	parts [][]byte          // of a disk or a stream
	files map[string][]byte // of a tree
}

// change makes the next round of the source, and returns its checksum and what to
// ingest it with.
func (s *busySource) change(t testing.TB) (sum string, args []string, stdin string) {
	s.round++
	kind, name, _ := strings.Cut(s.name, "/")
	if kind == "tree" {
		s.changeTree(t)
		sum, err := sumTree(os.DirFS(s.dir))
		if err != nil {
			t.Fatal(err)
		}
		return sum, []string{"ingest", "tree", "--name", name, s.dir}, ""
	}
	s.changeParts()
	whole := bytes.Join(s.parts, nil)
	if err := os.MkdirAll(s.dir, 0o700); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(s.dir, name+".raw")
	if err := os.WriteFile(file, whole, 0o600); err != nil {
		t.Fatal(err)
	}
	sum = fmt.Sprintf("%x", sha256.Sum256(whole))
	if kind == "stdin" {
		return sum, []string{"ingest", "stdin", "--name", name}, file
	}
	return sum, []string{"ingest", "disk", "--format", "raw", "--name", name, file}, ""
}

// changeParts replaces a tenth of the parts. The first says the round.
func (s *busySource) changeParts() {
	if s.parts == nil {
		s.parts = make([][]byte, s.pieces)
		for i := range s.parts {
			s.parts[i] = s.part()
		}
	}
	for range max(1, s.pieces/10) {
		s.parts[s.rnd.IntN(s.pieces)] = s.part()
	}
	head := noisePiece(s.rnd.Uint64())
	copy(head, fmt.Sprintf("round %d\n", s.round))
	s.parts[0] = head
}

// changeTree writes some files anew, and removes some.
func (s *busySource) changeTree(t testing.TB) {
	if s.files == nil {
		s.files = map[string][]byte{}
	}
	if err := os.MkdirAll(s.dir, 0o700); err != nil {
		t.Fatal(err)
	}
	write := func(name string, b []byte) {
		s.files[name] = b
		file := filepath.Join(s.dir, name)
		if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	fresh := max(2, s.pieces/10)
	if len(s.files) == 0 {
		fresh = s.pieces
	}
	for range fresh {
		b := s.part()
		write(fmt.Sprintf("d%d/f%d", s.rnd.IntN(4), s.rnd.IntN(s.pieces)), b[:1+s.rnd.IntN(len(b))])
	}
	for _, name := range slices.Sorted(maps.Keys(s.files)) {
		if s.rnd.IntN(20) == 0 {
			delete(s.files, name)
			if err := os.Remove(filepath.Join(s.dir, name)); err != nil {
				t.Fatal(err)
			}
		}
	}
	write("round", fmt.Appendf(nil, "round %d\n", s.round))
}

// part is noise of its own, or of a pool that all sources share, or zeros.
func (s *busySource) part() []byte {
	switch s.rnd.IntN(6) {
	case 0:
		return make([]byte, piece)
	case 1, 2:
		return noisePiece(s.rnd.Uint64N(50))
	}
	return noisePiece(s.rnd.Uint64() | 1<<63)
}

func noisePiece(seed uint64) []byte {
	var key [32]byte
	copy(key[:], fmt.Sprint(seed))
	b := make([]byte, piece)
	_, _ = rand.NewChaCha8(key).Read(b)
	return b
}

// sumTree is a checksum of the names and contents of all files.
func sumTree(tree fs.FS) (string, error) {
	h := sha256.New()
	err := fs.WalkDir(tree, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		b, err := fs.ReadFile(tree, name)
		fmt.Fprintf(h, "%q %x\n", name, sha256.Sum256(b))
		return err
	})
	return fmt.Sprintf("%x", h.Sum(nil)), err
}

// inside returns the file of a snapshot as a mount shows it: ".", for a tree, is the
// snapshot itself.
func inside(source string) string {
	kind, name, _ := strings.Cut(source, "/")
	switch kind {
	case "disk":
		return path.Join("disks", name+".raw")
	case "stdin":
		return name
	}
	return "."
}

// sumSnapshot reads a snapshot of a source, and returns its round and checksum.
func sumSnapshot(snapshot fs.FS, source string) (round int, sum string, err error) {
	var head []byte
	if file := inside(source); file == "." {
		if head, err = fs.ReadFile(snapshot, "round"); err == nil {
			sum, err = sumTree(snapshot)
		}
	} else {
		head, err = fs.ReadFile(snapshot, file)
		sum = fmt.Sprintf("%x", sha256.Sum256(head))
	}
	if err != nil {
		return 0, "", err
	}
	if _, err := fmt.Sscanf(string(head[:min(len(head), 40)]), "round %d\n", &round); err != nil {
		return 0, "", fmt.Errorf("it does not say its round: %q", head[:min(len(head), 40)])
	}
	return round, sum, nil
}
