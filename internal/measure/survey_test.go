package measure

import (
	"context"
	"slices"
	"sync/atomic"
	"testing"

	"vaultfs/chunk"
	"vaultfs/ingest"
	"vaultfs/repo"
)

// plainly cuts a disk in the simplest way, and returns the chunks as they come.
func plainly(s Scheme, c *chunk.Disk, disk []byte) (chunks []string) {
	disk = append(disk[:len(disk):len(disk)], make([]byte, chunk.Grain-1)...)
	disk = disk[:len(disk)/chunk.Grain*chunk.Grain]
	for len(disk) > 0 {
		segment := disk[:min(len(disk), repo.SegmentSize)]
		disk = disk[len(segment):]
		for len(segment) > 0 {
			n := min(int(s.Size), len(segment))
			if s.Aligned {
				var zeros int
				zeros, n = c.Next(segment, true)
				segment = segment[zeros:]
			}
			if n > 0 && !allZero(segment[:n]) {
				chunks = append(chunks, string(segment[:n]))
			}
			segment = segment[n:]
		}
	}
	return chunks
}

// sumOf is what chunks hold: the bytes of their grains that are not zero.
func sumOf(chunks []string) (n int64) {
	for _, c := range chunks {
		for grain := range slices.Chunk([]byte(c), chunk.Grain) {
			if !allZero(grain) {
				n += int64(len(grain))
			}
		}
	}
	return n
}

func distinct(chunks []string) (kept []string) {
	seen := map[string]bool{}
	for _, c := range chunks {
		if !seen[c] {
			kept = append(kept, c)
		}
		seen[c] = true
	}
	return kept
}

// What a survey counts is what the simplest cutting of the whole disk gives: for
// the own way and for fixed pieces, whose cuts can be told.
func TestSurveyCountsAsPlainCutting(t *testing.T) {
	disk, s := guest(t, 1), NewSurvey()
	p := new(ingest.Progress)
	d, err := s.Add(t.Context(), &memory{disk: disk}, p)
	if err != nil {
		t.Fatal(err)
	}
	for i, got := range s.Schemes() {
		if got.Aligned && got.Scheme != Own {
			continue
		}
		chunks := plainly(got.Scheme, s.cutter, disk)
		kept := distinct(chunks)
		if got.Chunks != int64(len(chunks)) || got.Bytes != sumOf(chunks) {
			t.Errorf("%+v: %d chunks of %d bytes, want %d of %d", schemes[i], got.Chunks, got.Bytes, len(chunks), sumOf(chunks))
		}
		if got.Kept.Chunks != int64(len(kept)) || got.Kept.Bytes != sumOf(kept) || got.OneIn != 1 {
			t.Errorf("%+v: %+v distinct, want %d of %d bytes", schemes[i], got.Kept, len(kept), sumOf(kept))
		}
		if share := float64(got.Kept.Stored) / float64(got.Kept.Bytes); share < 0.35 || share > 0.75 {
			t.Errorf("%+v: compressed to %.2f", schemes[i], share)
		}
	}
	own := plainly(Own, s.cutter, disk)
	if d.Size != int64(len(disk)) || d.Read != d.Data || d.Used() != sumOf(own)-(chunk.Grain-512) || d.Chunks != int64(len(own)) || p.Done.Load() != d.Data {
		t.Errorf("%+v, %d bytes used", d, sumOf(own))
	}
}

// The other ways to cut by content keep what the own one promises: their chunks
// are all that is no zero grain, of about the length they are called by, and data
// that is there twice is found.
func TestOtherAlignedSchemes(t *testing.T) {
	disk, s := content(t, NewGenerated(48<<20, 0, 0.5, 3)), NewSurvey()
	disk = append(disk, disk[4096:]...)
	if _, err := s.Add(t.Context(), &memory{disk: disk}, new(ingest.Progress)); err != nil {
		t.Fatal(err)
	}
	for _, got := range s.Schemes() {
		if !got.Aligned {
			continue
		}
		if got.Bytes != int64(len(disk)) {
			t.Errorf("%d KiB: %d of %d bytes", got.Size>>10, got.Bytes, len(disk))
		}
		if average := got.Bytes / got.Chunks; average < got.Size*9/10 || average > got.Size*3/2 {
			t.Errorf("%d KiB: %d bytes on average", got.Size>>10, average)
		}
		if share := float64(got.Kept.Bytes) / float64(got.Bytes); share < 0.5 || share > 0.56 {
			t.Errorf("%d KiB: deduplicated to %.2f, want about a half", got.Size>>10, share)
		}
	}
}

func TestLaterGenerationsAndOtherDisks(t *testing.T) {
	s, first := NewSurvey(), guest(t, 1)
	later := append([]byte(nil), first...)
	copy(later[8<<20:], "something else")
	var disks []*Disk
	for _, disk := range [][]byte{first, first, later, guest(t, 50)} {
		d, err := s.Add(t.Context(), &memory{disk: disk}, new(ingest.Progress))
		if err != nil {
			t.Fatal(err)
		}
		disks = append(disks, d)
	}
	if disks[1].New != (Amount{}) || !disks[1].Later() {
		t.Errorf("the same again: %+v", disks[1])
	}
	if n := disks[2].New; n.Chunks != 1 || n.Bytes > chunk.DiskMax || !disks[2].Later() {
		t.Errorf("a grain was changed: %+v", disks[2])
	}
	if disks[0].Later() || disks[3].Later() || disks[3].New.Bytes < disks[3].Used()/2 {
		t.Errorf("other disks: %+v, %+v", disks[0], disks[3])
	}
}

// An interrupted survey tells of what it has read.
func TestSurveyThatEndsEarly(t *testing.T) {
	ctx, stop := context.WithCancel(t.Context())
	img := &stopping{Image: NewGenerated(1<<30, 0, 0.5, 1), stop: stop}
	img.after.Store(40 << 20)
	s := NewSurvey()
	d, err := s.Add(ctx, img, new(ingest.Progress))
	if err == nil || d == nil || d.Read == 0 || d.Read >= d.Data || d.New.Stored == 0 {
		t.Errorf("%+v, %v", d, err)
	}
	if _, err := s.Add(t.Context(), &memory{disk: guest(t, 1), broken: 8 << 20}, new(ingest.Progress)); err != errBroken {
		t.Error(err)
	}
}

// A stopping image calls stop once so much was read.
type stopping struct {
	ingest.Image
	after atomic.Int64
	stop  func()
}

func (s *stopping) ReadAt(ctx context.Context, p []byte, off int64) error {
	if s.after.Add(int64(-len(p))) < 0 {
		s.stop()
	}
	return s.Image.ReadAt(ctx, p, off)
}
