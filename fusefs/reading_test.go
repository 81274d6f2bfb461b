package fusefs

import (
	"crypto/sha256"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func TestReading(t *testing.T) {
	t.Parallel()
	r := newFakeRepository()
	dir, reported := mount(t, r, Options{})
	want := r.disks["vda"].bytes(t)
	path := filepath.Join(dir, raw)

	t.Run("whole", func(t *testing.T) {
		got, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		mustEqual(t, "raw", got, want)
	})
	t.Run("mmap", func(t *testing.T) {
		out, err := helper("mmap", path).CombinedOutput()
		if sum := fmt.Sprintf("%x\n", sha256.Sum256(want)); err != nil || string(out) != sum {
			t.Errorf("%v: %s", err, out)
		}
	})
	t.Run("dd", func(t *testing.T) {
		to := filepath.Join(t.TempDir(), "part")
		run(t, "dd", "if="+path, "of="+to, "bs=4096", "skip=100", "count=3000", "iflag=direct", "status=none")
		got, err := os.ReadFile(to)
		if err != nil {
			t.Fatal(err)
		}
		mustEqual(t, "part", got, want[100*4096:][:3000*4096])
	})
	t.Run("sparse copy", func(t *testing.T) {
		to := filepath.Join(t.TempDir(), "copy")
		run(t, "cp", "--sparse=always", path, to)
		run(t, "cmp", path, to)
	})
	t.Run("concurrent", func(t *testing.T) { readConcurrently(t, path, want) })
	if reported.String() != "" {
		t.Errorf("reported %s", reported)
	}
}

func readConcurrently(t *testing.T, path string, want []byte) {
	dropCaches(t)
	var wg sync.WaitGroup
	defer wg.Wait()
	for i := range uint64(8) {
		wg.Go(func() {
			f, err := os.Open(path)
			if err != nil {
				t.Error(err)
				return
			}
			defer f.Close()
			rnd := rand.New(rand.NewPCG(i, i))
			for range 200 {
				off := rnd.Int64N(int64(len(want)))
				p := make([]byte, min(rnd.Int64N(300<<10), int64(len(want))-off))
				if n, err := f.ReadAt(p, off); n != len(p) {
					t.Errorf("%d bytes at %d: %v", n, off, err)
				}
				mustEqual(t, fmt.Sprint("at ", off), p, want[off:][:len(p)])
			}
		})
	}
}

// dropCaches has the kernel forget the pages it read.
func dropCaches(t testing.TB) {
	t.Helper()
	if err := os.WriteFile("/proc/sys/vm/drop_caches", []byte("1"), 0); err != nil {
		t.Fatal(err)
	}
}

func TestQEMU(t *testing.T) {
	t.Parallel()
	r := newFakeRepository()
	dir, _ := mount(t, r, Options{})
	image, plain := filepath.Join(dir, qcow), filepath.Join(dir, raw)
	if out := run(t, "qemu-img", "check", "-f", "qcow2", image); !strings.Contains(out, "No errors were found") {
		t.Error(out)
	}
	if out := run(t, "qemu-img", "compare", "-f", "qcow2", "-F", "raw", image, plain); !strings.Contains(out, "Images are identical") {
		t.Error(out)
	}
	to := filepath.Join(t.TempDir(), "copy")
	run(t, "qemu-img", "convert", "-f", "qcow2", "-O", "raw", image, to)
	got, err := os.ReadFile(to)
	if err != nil {
		t.Fatal(err)
	}
	mustEqual(t, "converted", got, r.disks["vda"].bytes(t))
	run(t, "qemu-io", "-r", "-f", "qcow2", "-c", "read 1M 4M", "-c", "aio_read 10M 64k", "-c", "aio_read 20M 1M", "-c", "aio_flush", image)
	for _, disk := range []string{"vda", "empty"} {
		run(t, "qemu-img", "check", filepath.Join(dir, "vm/win11/2026-11-21T13-00-00Z/disks", disk+".qcow2"))
	}
	if n := r.opens.Load(); n != 2 {
		t.Errorf("2 disks, opened %d times", n)
	}
}

// TestHugeSparseDisk is about a disk that no one could read to the end.
func TestHugeSparseDisk(t *testing.T) {
	t.Parallel()
	const size = 4 << 40
	r := &fakeRepository{disks: map[string]*fakeDisk{"big": newFakeDisk(size, 30, 50)}}
	disk := r.disks["big"]
	r.commit("vm/big", 1, noon, "big")
	dir, _ := mount(t, r, Options{})
	path := filepath.Join(dir, "vm/big/latest/disks/big.raw")
	to := filepath.Join(t.TempDir(), "copy")
	began := time.Now()
	run(t, "cp", "--sparse=auto", path, to)
	if took := time.Since(began); took > 10*time.Second {
		t.Errorf("copying took %v", took)
	}
	if out := run(t, "qemu-img", "compare", "-f", "raw", path, to); !strings.Contains(out, "identical") {
		t.Error(out)
	}
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var blocks []int64
	for at := int64(0); ; {
		data, err := unix.Seek(int(f.Fd()), at, unix.SEEK_DATA)
		if err == unix.ENXIO {
			break
		}
		hole, err2 := unix.Seek(int(f.Fd()), data, unix.SEEK_HOLE)
		if err != nil || err2 != nil {
			t.Fatal(err, err2)
		}
		for at = data; at < hole; at += blockSize {
			blocks = append(blocks, at/blockSize)
		}
	}
	if !slices.Equal(blocks, disk.blocks) {
		t.Errorf("SEEK_DATA finds %d blocks of %d", len(blocks), len(disk.blocks))
	}
	for _, off := range []int64{size, size + 1} {
		if _, err := unix.Seek(int(f.Fd()), off, unix.SEEK_HOLE); err != unix.ENXIO {
			t.Errorf("SEEK_HOLE at %d: %v", off, err)
		}
	}
	run(t, "qemu-img", "check", filepath.Join(dir, "vm/big/latest/disks/big.qcow2"))
}
