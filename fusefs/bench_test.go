package fusefs

import (
	"context"
	"io"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"
	"vaultfs/repo"
)

const benchSize = 512 << 20

// ramDisk is a fakeDisk without holes whose content is in memory already.
type ramDisk struct {
	*fakeDisk
	data []byte
}

func newRAMDisk() *ramDisk {
	d := &ramDisk{&fakeDisk{size: benchSize}, make([]byte, benchSize)}
	for b := range int64(benchSize / blockSize) {
		d.blocks = append(d.blocks, b)
	}
	rnd := rand.NewChaCha8([32]byte{})
	rnd.Read(d.data)
	return d
}

func (d *ramDisk) ReadAt(p []byte, off int64) (int, error) {
	if n := copy(p, d.data[min(off, benchSize):]); n < len(p) {
		return n, io.EOF
	}
	return len(p), nil
}

// Bitmap is that of a full disk.
func (d *ramDisk) Bitmap(int) ([]uint64, error) { return fullBitmap, nil }

var fullBitmap = slices.Repeat([]uint64{math.MaxUint64}, fakeSegment/fakeCluster/64)

// ramRepository has one snapshot with one disk.
type ramRepository struct {
	*fakeRepository
	disk *ramDisk
}

func (r *ramRepository) OpenDisk(context.Context, repo.Item) (Disk, error) { return r.disk, nil }

// bareFile is the least that go-fuse needs to show the same bytes.
type bareFile struct {
	fs.Inode
	disk *ramDisk
}

func (f *bareFile) Getattr(_ context.Context, _ fs.FileHandle, out *fuse.AttrOut) syscall.Errno {
	out.Size = benchSize
	return 0
}

func (f *bareFile) Open(context.Context, uint32) (fs.FileHandle, uint32, syscall.Errno) {
	return nil, fuse.FOPEN_KEEP_CACHE, 0
}

func (f *bareFile) Read(_ context.Context, _ fs.FileHandle, dest []byte, off int64) (fuse.ReadResult, syscall.Errno) {
	n, _ := f.disk.ReadAt(dest, off)
	return fuse.ReadResultData(dest[:n]), 0
}

func mountBare(b *testing.B, disk *ramDisk) string {
	dir, root, hour := b.TempDir(), &fs.Inode{}, time.Hour
	s, err := fs.Mount(dir, root, &fs.Options{
		EntryTimeout: &hour,
		AttrTimeout:  &hour,
		MountOptions: fuse.MountOptions{MaxWrite: maxRead, DirectMount: true, DisableSplice: true},
		OnAdd: func(ctx context.Context) {
			root.AddChild("file", root.NewPersistentInode(ctx, &bareFile{disk: disk}, fs.StableAttr{}), false)
		},
	})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { s.Unmount() })
	raiseReadAhead(dir)
	return filepath.Join(dir, "file")
}

// BenchmarkRead compares the files of a mount with a bare go-fuse file, none of
// them in the page cache.
func BenchmarkRead(b *testing.B) {
	disk := newRAMDisk()
	r := &ramRepository{&fakeRepository{disks: map[string]*fakeDisk{"vda": disk.fakeDisk}}, disk}
	r.commit("vm/a", 1, noon, "vda")
	dir, _ := mount(b, r, Options{})
	disks := filepath.Join(dir, "vm/a/latest/disks")
	for _, c := range []struct{ name, path string }{
		{"bare", mountBare(b, disk)},
		{"raw", filepath.Join(disks, "vda.raw")},
		{"qcow2", filepath.Join(disks, "vda.qcow2")},
	} {
		b.Run("sequential/"+c.name, func(b *testing.B) { benchSequential(b, c.path) })
		b.Run("random/"+c.name, func(b *testing.B) { benchRandom(b, c.path) })
	}
}

// BenchmarkReadReal reads a disk of random bytes in an encrypted repository.
func BenchmarkReadReal(b *testing.B) {
	r, _ := newRealRepository(b)
	disk := newFakeDisk(benchSize, 1, 0)
	for i := range int64(benchSize / blockSize) {
		disk.blocks = append(disk.blocks, i)
	}
	commitReal(b, r, "vm/a", noon, disk)
	dir, _ := mount(b, FromRepo(r), Options{})
	path := filepath.Join(dir, "vm/a/latest/disks/vda.raw")
	b.Run("sequential", func(b *testing.B) { benchSequential(b, path) })
	b.Run("random", func(b *testing.B) { benchRandom(b, path) })
}

func benchSequential(b *testing.B, path string) {
	f, err := os.Open(path)
	if err != nil {
		b.Fatal(err)
	}
	defer f.Close()
	buf := make([]byte, 1<<20)
	b.SetBytes(benchSize)
	for b.Loop() {
		b.StopTimer()
		dropCaches(b)
		b.StartTimer()
		for off := int64(0); off < benchSize; off += int64(len(buf)) {
			if n, err := f.ReadAt(buf, off); n < len(buf) {
				b.Fatal(n, err)
			}
		}
	}
}

func benchRandom(b *testing.B, path string) {
	f, err := os.Open(path)
	if err != nil {
		b.Fatal(err)
	}
	defer f.Close()
	if err := unix.Fadvise(int(f.Fd()), 0, 0, unix.FADV_RANDOM); err != nil {
		b.Fatal(err)
	}
	buf := make([]byte, blockSize)
	order := rand.Perm(benchSize / blockSize)
	dropCaches(b)
	for i := 0; b.Loop(); i++ {
		if i == len(order) {
			b.StopTimer()
			dropCaches(b)
			i = 0
			b.StartTimer()
		}
		if n, err := f.ReadAt(buf, int64(order[i])*blockSize); n < len(buf) {
			b.Fatal(n, err)
		}
	}
}

// BenchmarkList lists 30 sources of 30 snapshots, with attributes.
func BenchmarkList(b *testing.B) {
	r := newFakeRepository()
	for vm := range 30 {
		for seq := range 30 {
			r.commit("vm/"+strconv.Itoa(vm), uint64(seq+1), noon.AddDate(0, 0, seq), "vda", "vdb")
		}
	}
	dir, _ := mount(b, r, Options{})
	for name, args := range map[string][]string{
		"snapshots": {"-l", "--"},
		"all":       {"-R", "-l", "--"},
	} {
		b.Run(name, func(b *testing.B) {
			dirs, err := filepath.Glob(filepath.Join(dir, "vm/*"))
			if err != nil {
				b.Fatal(err)
			}
			for b.Loop() {
				b.StopTimer()
				if err := os.WriteFile("/proc/sys/vm/drop_caches", []byte("2"), 0); err != nil {
					b.Fatal(err)
				}
				time.Sleep(freshness)
				b.StartTimer()
				run(b, "ls", append(args, dirs...)...)
			}
		})
	}
}
