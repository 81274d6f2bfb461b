package bare

import (
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
)

// A disk with holes, whose second half repeats the first.
func image(t *testing.T) (path string, data []byte) {
	data = make([]byte, 2<<20)
	rand.NewChaCha8([32]byte{7}).Read(data)
	path = filepath.Join(t.TempDir(), "raw")
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for _, off := range []int64{1 << 20, stretch + 5<<20} {
		if _, err := f.WriteAt(data, off); err != nil {
			t.Fatal(err)
		}
	}
	if err := f.Truncate(2*stretch + 100); err != nil {
		t.Fatal(err)
	}
	return path, data
}

func TestPipelineStoresEachChunkOnce(t *testing.T) {
	path, data := image(t)
	out := filepath.Join(t.TempDir(), "out")
	if err := Pipeline(t.Context(), path, out); err != nil {
		t.Fatal(err)
	}
	st, err := os.Stat(out)
	if err != nil {
		t.Fatal(err)
	}
	// Noise does not compress. Two workers may meet a new chunk once each at most.
	if n := st.Size(); n < int64(len(data)) || n > int64(len(data))*11/10 {
		t.Errorf("%d bytes for %d", n, len(data))
	}
}

func TestEachRunSeesAllData(t *testing.T) {
	path, data := image(t)
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	seen := 0
	if err := eachRun(f, 0, stretch, make([]byte, stretch), func(p []byte) error { seen += len(p); return nil }); err != nil {
		t.Fatal(err)
	}
	if seen != len(data) {
		t.Errorf("%d bytes, want %d", seen, len(data))
	}
	if err := Hash(t.Context(), path); err != nil {
		t.Error(err)
	}
}
