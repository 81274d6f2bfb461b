package main

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"

	"vaultfs/chunk"
	"vaultfs/internal/testguest"
	"vaultfs/repo"
	"vaultfs/repo/store"
)

// A guestDisk is a raw image with an ext4 file system, of which some files are
// replaced from generation to generation.
type guestDisk struct {
	file   string
	offset int64 // of the file system, in bytes
	noise  int   // bytes that a generation replaces, in four files
	rnd    *rand.ChaCha8
}

// newGuestDisk makes an empty file system, or takes a copy of the disk of a guest.
func newGuestDisk(t *testing.T, dir string, guest bool) *guestDisk {
	d := &guestDisk{file: filepath.Join(dir, "guest.raw"), noise: 4 << 20, rnd: rand.NewChaCha8([32]byte{5})}
	if guest {
		d.offset, d.noise = 1<<20, 32<<20
		runProgram(t, "qemu-img", "convert", "-f", "qcow2", "-O", "raw", testguest.Image(t), d.file)
		return d
	}
	if err := os.WriteFile(d.file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(d.file, 128<<20); err != nil {
		t.Fatal(err)
	}
	runProgram(t, "mkfs.ext4", "-q", "-F", "-b", "4096", d.file)
	return d
}

// change replaces the noise by other noise.
func (d *guestDisk) change(t *testing.T) {
	var commands strings.Builder
	for i := range 4 {
		b := make([]byte, d.noise/4)
		_, _ = d.rnd.Read(b)
		from := fmt.Sprintf("%s.%d", d.file, i)
		if err := os.WriteFile(from, b, 0o600); err != nil {
			t.Fatal(err)
		}
		defer os.Remove(from)
		fmt.Fprintf(&commands, "rm noise%d\nwrite %s noise%d\n", i, from, i)
	}
	cmd := exec.Command("debugfs", "-w", "-f", "-", fmt.Sprintf("%s?offset=%d", d.file, d.offset))
	cmd.Stdin = strings.NewReader(commands.String())
	if out, err := cmd.CombinedOutput(); err != nil || strings.Count(string(out), "Allocated inode") != 4 {
		t.Fatalf("debugfs: %v\n%s", err, out)
	}
}

func runProgram(t *testing.T, name string, args ...string) string {
	t.Helper()
	out, err := exec.Command(name, args...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s %q: %v\n%s", name, args, err, out)
	}
	return string(out)
}

// TestOldestGeneration forgets the oldest snapshots of a guest, and has the space
// that only they used back with the same command. VAULTFS_GENERATIONS=30 does it
// with that many of a real guest.
func TestOldestGeneration(t *testing.T) {
	generations, guest := 5, false
	if word := os.Getenv("VAULTFS_GENERATIONS"); word != "" {
		var err error
		if generations, err = strconv.Atoi(word); err != nil {
			t.Fatal(err)
		}
		guest = true
	}
	y := newYard(t)
	y.must("init", "--no-encryption")
	d := newGuestDisk(t, y.dir, guest)
	for range generations {
		d.change(t)
		y.must("ingest", "disk", "--format", "raw", d.file, "-q")
	}
	for range 2 {
		y.forgetOldest()
	}
	y.must("verify", "--read-data")
	back := filepath.Join(y.dir, "back.raw")
	y.must("restore", "disk/guest:guest", "--to", back, "-q")
	runProgram(t, "cmp", d.file, back)
}

// forgetOldest compares what forgetting the oldest snapshot frees on the disk with
// what only it used.
func (y *yard) forgetOldest() {
	y.Helper()
	all := y.snapshots()
	only := y.onlyOldest()
	before := blocks(y.T, y.repo())
	out := y.must("forget", "disk/guest", "--keep-last", fmt.Sprint(len(all)-1), "--gc")
	freed := before - blocks(y.T, y.repo())
	if left := y.snapshots(); len(left) != len(all)-1 || left[0].ID != all[1].ID {
		y.Fatalf("it forgot other snapshots than the oldest:\n%s", out)
	}
	y.Logf("of %d snapshots the oldest alone used %s, %s were freed (%.1f%%)", len(all), iec(only), iec(freed), 100*float64(freed)/float64(only))
	if float64(freed) < 0.95*float64(only) {
		y.Errorf("the oldest snapshot alone used %d bytes, %d were freed:\n%s", only, freed, out)
	}
	if float64(freed) > 1.1*float64(only)+1<<20 {
		y.Errorf("the oldest snapshot alone used %d bytes of data, but %d were freed:\n%s", only, freed, out)
	}
	var again gcJSON
	if err := json.Unmarshal([]byte(y.must("gc", "--dry-run", "--json")), &again); err != nil || again.Plan.FreedNow > 0 {
		y.Errorf("one command left something to free: %v, %+v", err, again.Plan)
	}
}

// onlyOldest is what the chunks take, as they are stored, that the oldest snapshot
// names and no other does. It looks at nothing but the maps of the disks and their
// content, which it compresses itself.
func (y *yard) onlyOldest() (n int64) {
	y.Helper()
	st, err := store.OpenDir(y.repo())
	if err != nil {
		y.Fatal(err)
	}
	defer st.Close()
	r, err := repo.Open(y.Context(), st, repo.OpenOptions{})
	if err != nil {
		y.Fatal(err)
	}
	defer r.Close()
	all, err := r.Snapshots(y.Context())
	if err != nil {
		y.Fatal(err)
	}
	e, err := zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedFastest))
	if err != nil {
		y.Fatal(err)
	}
	named := map[chunk.ID]bool{}
	for _, s := range all[1:] {
		eachChunk(y.T, r, s, func(x repo.Extent, _ func() []byte) { named[x.ID] = true })
	}
	const tag = 16 // bytes that sealing adds
	eachChunk(y.T, r, all[0], func(x repo.Extent, read func() []byte) {
		if !named[x.ID] {
			plain := read()
			n += int64(min(len(e.EncodeAll(plain, nil)), len(plain))) + tag
		}
		named[x.ID] = true
	})
	return n
}

// eachChunk calls f with the chunks of a disk.
func eachChunk(t *testing.T, r *repo.Repo, s *repo.Snapshot, f func(x repo.Extent, read func() []byte)) {
	t.Helper()
	d, err := r.OpenDisk(t.Context(), *s.Item("guest"))
	if err != nil {
		t.Fatal(err)
	}
	for i := range d.Segments() {
		extents, err := d.Segment(i)
		if err != nil {
			t.Fatal(err)
		}
		for _, x := range extents {
			f(x, func() []byte {
				plain := make([]byte, x.Len)
				if n, err := d.ReadAt(plain, int64(i)*d.SegmentSize()+x.Off); n < len(plain) {
					t.Fatal(err)
				}
				return plain
			})
		}
	}
}

// blocks is what a directory takes on the disk, in bytes.
func blocks(t *testing.T, dir string) int64 {
	t.Helper()
	n, err := strconv.ParseInt(strings.Fields(runProgram(t, "du", "-s", "-B1", dir))[0], 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	return n
}
