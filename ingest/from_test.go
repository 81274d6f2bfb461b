package ingest

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"strings"
	"testing"

	"vaultfs/chunk"
	"vaultfs/repo"
)

// resized is a disk of another size with the same beginning.
func (g *guestDisk) resized(size int64) *guestDisk {
	after := newDisk(size)
	for i, c := range g.clusters {
		if i*cluster < size {
			after.clusters[i] = bytes.Clone(c)
			clear(after.clusters[i][min(cluster, size-i*cluster):])
		}
	}
	return after
}

// states are what may have become of threeAndABit by the next backup.
func states() map[string]*guestDisk {
	before := threeAndABit()
	some, _ := before.with(write{off: 1<<20 + 5, n: 3000}, write{off: 2 << 20, n: 1}, write{off: 25 << 20, n: 64 << 10},
		write{off: 3 << 20, n: 1 << 20, zeros: true}, write{off: repo.SegmentSize - 4096, n: 8192})
	larger, _ := before.resized(before.size + 2*repo.SegmentSize + 3*512).with(write{off: before.size + repo.SegmentSize, n: 1 << 20})
	return map[string]*guestDisk{
		"as it was":    before,
		"written to":   some,
		"larger":       larger,
		"smaller":      before.resized(before.size - repo.SegmentSize - 5*512),
		"one sector":   before.resized(512),
		"empty":        newDisk(before.size),
		"another disk": denser(before.size),
	}
}

// denser is a disk that has nothing of the others.
func denser(size int64) *guestDisk {
	g, _ := newDisk(size).with(write{off: 4096, n: 9 << 20}, write{off: repo.SegmentSize + 77, n: 5 << 20})
	for i, c := range g.clusters {
		noise(uint64(1000+i), c)
	}
	return g
}

// TestCopyFrom: whatever the base is, an image makes the disk that CopyDisk makes of
// it, read from a file or from a stream, and the snapshot has all that it names.
func TestCopyFrom(t *testing.T) {
	r := newRepo(t)
	base := full(t, r, threeAndABit())
	for name, img := range states() {
		t.Run(name, func(t *testing.T) {
			roots := map[chunk.ID]bool{}
			for _, way := range []string{"image", "stream"} {
				s := session(t, r, base)
				img.read.Store(0)
				p := new(Progress)
				var root chunk.ID
				var err error
				if way == "image" {
					root, err = CopyDiskFrom(t.Context(), s, img, openBase(t, s), p)
				} else {
					var size int64
					root, size, err = CopyStream(t.Context(), s, &imageReader{img: img}, openBase(t, s), p)
					if want := (img.size + Sector - 1) / Sector * Sector; size != want {
						t.Errorf("a stream of %d bytes, want %d", size, want)
					}
				}
				if err != nil {
					t.Fatal(err)
				}
				roots[root] = true
				if p.Read.Load() != img.read.Load() || grains(p.Done.Load()) != grains(p.Read.Load()) {
					t.Errorf("%s: %d bytes read, %d told, %d done", way, img.read.Load(), p.Read.Load(), p.Done.Load())
				}
				stats := s.Stats()
				snap := commit(t, s, root, img.size)
				img.same(t, openDisk(t, r, snap))
				if name == "as it was" && (stats.ChunksNew != 0 || stats.BytesNew != 0 || stats.BytesTotal == 0 ||
					!strings.Contains(snap.Info.Verified, "4 segments, which were taken over")) {
					t.Errorf("%s: %+v, %s", way, stats, snap.Info.Verified)
				}
			}
			if want := mustCopy(t, session(t, r, nil), img); len(roots) != 1 || !roots[want] {
				t.Errorf("roots %v, CopyDisk makes %v", roots, want)
			}
		})
	}
}

// An imageReader reads an image from its beginning to its end.
type imageReader struct {
	img *guestDisk
	at  int64
}

func (r *imageReader) Read(p []byte) (int, error) {
	n := min(int64(len(p)), r.img.size-r.at)
	if n == 0 {
		return 0, io.EOF
	}
	r.at += n
	return int(n), r.img.ReadAt(context.Background(), p[:n], r.at-n)
}

// Whichever map of the base is damaged, and however many others of the same pack
// were found good before it, one full read stores it again and commits, also of a
// disk that was done before, and heals the base as well.
func TestCopyFromADamagedBase(t *testing.T) {
	img := threeAndABit()
	tried := 0
	for _, c := range []struct{ first, last float64 }{{0, 0.8}, {0.05, 0.05}, {0.1, 0.1}, {0.15, 0.15}, {0.2, 0.2}} {
		t.Run(fmt.Sprint(c), func(t *testing.T) {
			r, dir := newRepoIn(t)
			before := full(t, r, img)
			s := session(t, r, before)
			base := openBase(t, s)
			packs := spoilFrom(t, dir, c.first, c.last, mapPack)
			root := mustCopyFrom(t, s, img, base)
			if whole := before.Items[0].Root; root != whole || s.FoundDamage() {
				t.Errorf("root %v, was %v; found damage: %v", root, whole, s.FoundDamage())
			}
			snap := commit(t, s, root, img.size)
			img.same(t, openDisk(t, r, snap))
			img.same(t, openDisk(t, r, s.Previous()))
			onlyLost(t, r, packs)
			if notes := strings.Join(snap.Info.Notes, "\n"); notes != "" {
				tried++
				if !strings.Contains(notes, packs[0]) {
					t.Errorf("the notes do not tell of %s: %q", packs[0], notes)
				}
			}
		})
	}
	if tried < 3 {
		t.Errorf("a map was damaged in %d cases", tried)
	}
}

func mustCopyFrom(t *testing.T, s *repo.Session, img Image, base *repo.Disk) chunk.ID {
	t.Helper()
	root, err := CopyDiskFrom(t.Context(), s, img, base, new(Progress))
	if err != nil {
		t.Fatal(err)
	}
	return root
}

// A disk of another session is no base.
func TestCopyFromAnotherSessionsBase(t *testing.T) {
	r := newRepo(t)
	img := oneChunk()
	snap := full(t, r, img)
	other := session(t, r, snap)
	base := openBase(t, other)
	if err := other.Abort(t.Context()); err != nil {
		t.Fatal(err)
	}
	s := session(t, r, snap)
	if _, err := CopyDiskFrom(t.Context(), s, img, base, new(Progress)); err == nil || !strings.Contains(err.Error(), "not opened by this session") {
		t.Errorf("error %v", err)
	}
}
