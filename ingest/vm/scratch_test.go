package vm

import (
	"os"
	"path/filepath"
	"syscall"
	"testing"
)

// The command line runs under umask 077, and QEMU is another user.
func TestScratchIsPassableWhateverTheUmask(t *testing.T) {
	defer syscall.Umask(syscall.Umask(0o077))
	top := filepath.Join(t.TempDir(), "lib")
	if err := makePassable(filepath.Join(top, "scratch")); err != nil {
		t.Fatal(err)
	}
	for _, dir := range []string{top, filepath.Join(top, "scratch")} {
		st, err := os.Stat(dir)
		if err != nil {
			t.Fatal(err)
		}
		if st.Mode().Perm() != 0o711 {
			t.Errorf("%s has mode %v", filepath.Base(dir), st.Mode())
		}
	}
}

func TestKeepFree(t *testing.T) {
	for size, want := range map[int64]int64{
		4 << 20: leastFree, 10 << 30: leastFree, 50 << 30: 1 << 30, 1 << 40: mostFree,
	} {
		if got := keepFree(size); got != want {
			t.Errorf("of %d bytes %d are kept free, want %d", size, got, want)
		}
	}
}
