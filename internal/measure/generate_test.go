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

// The shares are kept: of extents that repeat earlier ones, and of what compresses.
func TestGeneratedKeepsItsShares(t *testing.T) {
	g := NewGenerated(1<<40, 0.4, 0.7, 1)
	const extents = 10_000
	repeat := 0
	for i := range uint64(extents) {
		if first := g.first(i); first > i {
			t.Fatalf("extent %d repeats %d", i, first)
		} else if first < i {
			repeat++
		}
	}
	if share := float64(repeat) / extents; share < 0.38 || share > 0.42 {
		t.Errorf("%.3f of the extents repeat others, want 0.4", share)
	}
	p, packed, total := make([]byte, 256<<10), 0, 0
	for i := range int64(100) {
		if err := g.ReadAt(t.Context(), p, i*(1<<30)); err != nil {
			t.Fatal(err)
		}
		packed, total = packed+len(format.Payload(nil, p)), total+len(p)
	}
	if share := float64(packed) / float64(total); share < 0.42 || share > 0.68 {
		t.Errorf("compressed to %.2f, want about 0.3 + 0.7 × 0.37", share)
	}
}

// An extent that repeats another is that other, byte for byte.
func TestRepeatedExtents(t *testing.T) {
	g := NewGenerated(64<<20, 0.5, 0.5, 2)
	disk, repeated := content(t, g), 0
	for i := range uint64(len(disk) / extent) {
		if first := g.first(i); first != i {
			repeated++
			if !bytes.Equal(disk[i*extent:][:extent], disk[first*extent:][:extent]) {
				t.Errorf("extent %d is not %d", i, first)
			}
		}
	}
	if repeated == 0 {
		t.Error("no extent repeats another")
	}
}

func TestNothingRepeatsInADiskWithoutDuplicates(t *testing.T) {
	disk := content(t, NewGenerated(32<<20, 0, 1, 1))
	seen := map[string]bool{}
	for off := 0; off < len(disk); off += chunk.Grain {
		seen[string(disk[off:off+chunk.Grain])] = true
	}
	if len(seen) != len(disk)/chunk.Grain {
		t.Errorf("%d distinct grains of %d", len(seen), len(disk)/chunk.Grain)
	}
}
