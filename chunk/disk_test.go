package chunk

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// testKey is 1, 2, … 32.
var testKey = func() (k [32]byte) {
	for i := range k {
		k[i] = byte(i + 1)
	}
	return k
}()

// random is n bytes of a fixed pseudo-random stream (ChaCha8, seed first byte).
func random(seed byte, n int) []byte {
	b := make([]byte, n)
	rand.NewChaCha8([32]byte{seed}).Read(b)
	return b
}

// A cut is a chunk of a disk, in bytes from the start.
type cut struct{ off, n int }

// cuts drives Next as a segment's copier does, with what arrives in windows of
// the given grains, the last one repeated.
func cuts(d *Disk, disk []byte, windows []int) (all []cut) {
	var rest []byte
	at := 0 // of rest
	for len(disk) > 0 {
		n := min(len(disk), windows[0]*Grain)
		if len(windows) > 1 {
			windows = windows[1:]
		}
		rest, disk = append(slices.Clone(rest), disk[:n]...), disk[n:]
		for len(rest) > 0 {
			zeros, n := d.Next(rest, len(disk) == 0)
			rest, at = rest[zeros:], at+zeros
			if n == 0 {
				break
			}
			all = append(all, cut{at, n})
			rest, at = rest[n:], at+n
		}
		if len(rest) >= DiskMax {
			panic(fmt.Sprintf("%d bytes are held back", len(rest)))
		}
	}
	if len(rest) > 0 {
		panic(fmt.Sprintf("%d bytes are left over", len(rest)))
	}
	return all
}

func wholeCuts(d *Disk, disk []byte) []cut { return cuts(d, disk, []int{1 << 20}) }

// drawDisk is a disk of runs of zeros, of noise, of one repeated grain and of
// grains that all end a chunk.
func drawDisk(t *rapid.T, d *Disk) []byte {
	enders := endingGrain(d)
	var disk []byte
	for _, run := range rapid.SliceOfN(rapid.IntRange(0, 4*150-1), 0, 6).Draw(t, "runs") {
		n := run/4 + 1
		switch run % 4 {
		case 0:
			disk = append(disk, make([]byte, n*Grain)...)
		case 1:
			disk = append(disk, random(byte(n), n*Grain)...)
		case 2:
			disk = append(disk, bytes.Repeat(random(byte(n), Grain), n)...)
		case 3:
			disk = append(disk, bytes.Repeat(enders, n)...)
		}
	}
	return disk
}

// endingGrain is a grain after which a chunk of sufficient length ends.
func endingGrain(d *Disk) []byte {
	for seed := byte(0); ; seed++ {
		if g := random(seed, Grain); d.cutsAfter(g) {
			return g
		}
	}
}

func TestWindowsDoNotMoveCuts(t *testing.T) {
	d := NewDisk(testKey)
	rapid.Check(t, func(t *rapid.T) {
		disk := drawDisk(t, d)
		windows := rapid.SliceOfN(rapid.IntRange(1, 200), 1, 20).Draw(t, "windows")
		if got, want := cuts(d, disk, windows), wholeCuts(d, disk); !slices.Equal(got, want) {
			t.Fatalf("in windows of %v grains: %v; in one: %v", windows, got, want)
		}
	})
}

// What is stored is every grain that is not zero, once, in chunks within the
// bounds; a chunk is short only before a hole or at the end.
func TestChunksCoverTheDataAndNothingElse(t *testing.T) {
	d := NewDisk(testKey)
	rapid.Check(t, func(t *rapid.T) {
		disk := drawDisk(t, d)
		copied := make([]byte, len(disk))
		end := 0
		for _, c := range wholeCuts(d, disk) {
			if c.off%Grain != 0 || c.n%Grain != 0 || c.off < end || c.n <= 0 || c.n > DiskMax {
				t.Fatalf("chunk %+v after byte %d", c, end)
			}
			end = c.off + c.n
			if c.n < DiskMin && end < len(disk) && !isZero(disk[end:end+Grain]) {
				t.Fatalf("chunk %+v is short and data follow", c)
			}
			for g := c.off; g < end; g += Grain {
				if isZero(disk[g : g+Grain]) {
					t.Fatalf("zero grain at %d is stored", g)
				}
			}
			copy(copied[c.off:end], disk[c.off:])
		}
		if !bytes.Equal(copied, disk) {
			t.Fatal("what is stored is not what is on the disk")
		}
	})
}

// Equal runs of grains between holes are cut equally wherever they lie, and a
// run joins the cuts of another that begins earlier.
func TestEqualRunsAreCutEqually(t *testing.T) {
	d := NewDisk(testKey)
	rapid.Check(t, func(t *rapid.T) {
		run := random(rapid.Byte().Draw(t, "seed"), rapid.IntRange(1, 300).Draw(t, "grains")*Grain)
		before := drawDisk(t, d)
		hole := make([]byte, rapid.IntRange(1, 9).Draw(t, "hole")*Grain)
		at := len(before) + len(hole)
		moved := slices.Concat(before, hole, run)
		var got []cut
		for _, c := range wholeCuts(d, moved) {
			if c.off >= at {
				got = append(got, cut{c.off - at, c.n})
			}
		}
		if want := wholeCuts(d, run); !slices.Equal(got, want) {
			t.Fatalf("at byte %d: %v; alone: %v", at, got, want)
		}
	})
}

func TestCutsMeetAgainAfterAnInsertion(t *testing.T) {
	d := NewDisk(testKey)
	disk := random(1, 32<<20)
	grown := slices.Concat(random(2, 3*Grain), disk)
	have := map[cut]bool{}
	for _, c := range wholeCuts(d, disk) {
		have[c] = true
	}
	shared := 0
	for _, c := range wholeCuts(d, grown) {
		if have[cut{c.off - 3*Grain, c.n}] {
			shared += c.n
		}
	}
	if lost := len(disk) - shared; lost > 2*DiskMax {
		t.Errorf("after 3 new grains at the start, %d bytes are cut differently", lost)
	}
}

func TestKeyDecidesCuts(t *testing.T) {
	disk := random(3, 16<<20)
	a, b := wholeCuts(NewDisk(testKey), disk), wholeCuts(NewDisk([32]byte{9}), disk)
	same := map[cut]bool{}
	for _, c := range a {
		same[c] = true
	}
	shared := 0
	for _, c := range b {
		if same[c] {
			shared++
		}
	}
	if shared > len(a)/10 {
		t.Errorf("%d of %d chunks are the same under another key", shared, len(a))
	}
}

// The size that FORMAT.md and the index's memory are reckoned with.
func TestAverageDiskChunk(t *testing.T) {
	all := wholeCuts(NewDisk(testKey), random(4, 64<<20))
	average := (64 << 20) / len(all)
	if average < 120<<10 || average > 175<<10 {
		t.Errorf("chunks of random data have %d KiB on average", average>>10)
	}
}

// The cuts are part of the format: another version of this program, or of the
// hash, that cuts differently does not deduplicate against what is stored.
func TestGoldenDiskCuts(t *testing.T) {
	disk := slices.Concat(random(5, 100*Grain), make([]byte, 7*Grain), random(6, 300*Grain), bytes.Repeat([]byte{1}, 200*Grain))
	want := []cut{ // in grains
		{0, 8}, {8, 31}, {39, 21}, {60, 40}, {107, 12}, {119, 31}, {150, 13}, {163, 13}, {176, 15},
		{191, 19}, {210, 81}, {291, 20}, {311, 28}, {339, 28}, {367, 20}, {387, 17}, {404, 128}, {532, 75},
	}
	got := wholeCuts(NewDisk(testKey), disk)
	for i, c := range got {
		got[i] = cut{c.off / Grain, c.n / Grain}
	}
	if !slices.Equal(got, want) {
		t.Errorf("cuts have changed: %v", got)
	}
}

func BenchmarkDiskCutter(b *testing.B) {
	d, disk := NewDisk(testKey), random(7, 16<<20)
	b.SetBytes(int64(len(disk)))
	for b.Loop() {
		wholeCuts(d, disk)
	}
}

func BenchmarkDiskCutterZeros(b *testing.B) {
	d, disk := NewDisk(testKey), make([]byte, 16<<20)
	b.SetBytes(int64(len(disk)))
	for b.Loop() {
		d.Next(disk, true)
	}
}
