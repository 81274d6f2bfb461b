package measure

import (
	"bytes"
	"testing"

	"vaultfs/chunk"
	"vaultfs/ingest"
	"vaultfs/repo/format"
)

// content is all of a generated disk.
func content(t testing.TB, g *Generated) []byte {
	t.Helper()
	p := make([]byte, g.Size())
	if err := g.ReadAt(t.Context(), p, 0); err != nil {
		t.Fatal(err)
	}
	return p
}

func TestGeneratedIsTheSameHoweverItIsRead(t *testing.T) {
	g := NewGenerated(9<<20+700, 0.5, 0.5, 7)
	whole := content(t, g)
	for _, r := range []ingest.Run{{Off: 0, Len: 1}, {Off: 4095, Len: 2}, {Off: 8 << 20, Len: 1<<20 + 700}, {Off: 5000, Len: 70000}} {
		p := make([]byte, r.Len)
		if err := g.ReadAt(t.Context(), p, r.Off); err != nil || !bytes.Equal(p, whole[r.Off:r.Off+r.Len]) {
			t.Errorf("%+v: %v", r, err)
		}
	}
	if !bytes.Equal(content(t, NewGenerated(9<<20+700, 0.5, 0.5, 7)), whole) {
		t.Error("the same seed gives another disk")
	}
	if bytes.Equal(content(t, NewGenerated(9<<20+700, 0.5, 0.5, 8)), whole) {
		t.Error("another seed gives the same disk")
	}
}

// The shares are kept: of grains that are there twice, and of what compresses.
func TestGeneratedKeepsItsShares(t *testing.T) {
	g := NewGenerated(256<<20, 0.4, 0.7, 1)
	disk := content(t, g)
	seen := map[string]bool{}
	packed := 0
	for off := 0; off < len(disk); off += chunk.Grain {
		grain := disk[off : off+chunk.Grain]
		if isZero(grain) {
			t.Fatalf("zero grain at %d", off)
		}
		seen[string(grain)] = true
	}
	for off := 0; off < len(disk); off += 256 << 10 {
		packed += len(format.Payload(nil, disk[off:off+256<<10]))
	}
	if repeated := 1 - float64(len(seen)*chunk.Grain)/float64(len(disk)); repeated < 0.2 || repeated > 0.6 {
		t.Errorf("%.2f of the grains repeat others, want about 0.4", repeated)
	}
	if share := float64(packed) / float64(len(disk)); share < 0.50 || share > 0.62 {
		t.Errorf("compressed to %.2f, want about 0.3 + 0.7 × 0.37", share)
	}
}

func TestNothingRepeatsInADiskWithoutDuplicates(t *testing.T) {
	disk := content(t, NewGenerated(64<<20, 0, 1, 1))
	seen := map[string]bool{}
	for off := 0; off < len(disk); off += chunk.Grain {
		seen[string(disk[off:off+chunk.Grain])] = true
	}
	if len(seen) != len(disk)/chunk.Grain {
		t.Errorf("%d distinct grains of %d", len(seen), len(disk)/chunk.Grain)
	}
}
