package qemunbd

import (
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"

	"vaultfs/internal/nbd"
)

const benchSize = 1 << 30

// benchImage is 1 GiB of raw data that the page cache holds.
func benchImage(b *testing.B) string {
	path := filepath.Join(b.TempDir(), "a.raw")
	f, err := os.Create(path)
	if err != nil {
		b.Fatal(err)
	}
	defer f.Close()
	rng := rand.NewChaCha8([32]byte{1})
	block := make([]byte, 1<<20)
	for range benchSize / len(block) {
		rng.Read(block)
		if _, err := f.Write(block); err != nil {
			b.Fatal(err)
		}
	}
	return path
}

// BenchmarkRead reads 1 GiB through qemu-nbd: by us with 1 MiB reads over two connections, four in flight, and by the
// tools that people would use.
func BenchmarkRead(b *testing.B) {
	path := benchImage(b)
	s := start(b, Options{Chain: []Layer{{Path: path, Format: "raw"}}, Connections: 8})
	uri := "nbd+unix:///?socket=" + s.Socket()
	b.Run("client", func(b *testing.B) {
		c := dial(b, s, nbd.Options{Connections: 2})
		b.SetBytes(benchSize)
		for b.Loop() {
			readAll(b, c, 1<<20, 4)
		}
	})
	for name, command := range map[string][]string{
		"nbdcopy":             {"nbdcopy", "--connections=2", "--requests=4", "--request-size=1048576", uri, "null:"},
		"nbdcopy-defaults":    {"nbdcopy", uri, "null:"},
		"qemu-img-convert":    {"qemu-img", "convert", "-n", "-m", "8", "-W", "-f", "raw", "--target-image-opts", uri, "driver=null-co,size=1G"},
		"qemu-img-convert-m1": {"qemu-img", "convert", "-n", "-m", "1", "-f", "raw", "--target-image-opts", uri, "driver=null-co,size=1G"},
	} {
		b.Run(name, func(b *testing.B) {
			b.SetBytes(benchSize)
			for b.Loop() {
				if out, err := exec.Command(command[0], command[1:]...).CombinedOutput(); err != nil {
					b.Fatalf("%v %s", err, out)
				}
			}
		})
	}
}

// readAll reads the export once, with n readers.
func readAll(b *testing.B, c *nbd.Client, piece int64, n int) {
	var next atomic.Int64
	var wg sync.WaitGroup
	for range n {
		wg.Go(func() {
			p := make([]byte, piece)
			for off := next.Add(piece) - piece; off < c.Size(); off = next.Add(piece) - piece {
				if err := c.ReadAt(b.Context(), p, off); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
}
