package read

import (
	"os"
	"path/filepath"
	"testing"
	"time"
)

func TestReads(t *testing.T) {
	path := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(path, make([]byte, 3<<20+5), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ limit, want int64 }{{1 << 40, 3<<20 + 5}, {1<<20 + 1, 1<<20 + 1}} {
		n, took, err := Sequential(t.Context(), path, c.limit, time.Minute)
		if err != nil || n != c.want || took <= 0 {
			t.Errorf("at most %d: %d bytes in %v, %v", c.limit, n, took, err)
		}
	}
	if n, _, err := Random(t.Context(), path, 3<<20, 100, time.Minute); err != nil || n != 100 {
		t.Errorf("%d blocks, %v", n, err)
	}
	if n, took, err := Random(t.Context(), path, 3<<20, 1<<62, 20*time.Millisecond); err != nil || n == 0 || took < 20*time.Millisecond {
		t.Errorf("%d blocks in %v, %v", n, took, err)
	}
	if _, _, err := Random(t.Context(), path, 1<<30, 10000, time.Minute); err == nil {
		t.Error("no error behind the end of the file")
	}
}
