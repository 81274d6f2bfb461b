package repo_test

import (
	"testing"

	"vaultfs/chunk"
)

// The grains of a segment are those of its extents.
func TestGrainsOfSegments(t *testing.T) {
	r := newRepo(t, newStore(t))
	b := newBackup("vm/a", 10)
	d, err := r.OpenDisk(t.Context(), *mustIngest(t, r, b).Item("vda"))
	if err == nil {
		err = d.Check()
	}
	if err != nil {
		t.Fatal(err)
	}
	for i := range d.Segments() {
		bits, err := d.GrainBitmap(i)
		if err != nil {
			t.Fatal(err)
		}
		if d.Grains(i) == 0 && bits != nil {
			t.Errorf("segment %d: a bitmap of zeros", i)
		}
		set := uint32(0)
		for g := range int64(len(bits)) * 64 {
			m, _ := d.Segment(i)
			want := false
			for _, e := range m {
				want = want || e.Off <= g*chunk.Grain && g*chunk.Grain < e.Off+e.Len
			}
			got := bits[g/64]>>(g%64)&1 == 1
			if got != want {
				t.Fatalf("segment %d, grain %d: %v, want %v", i, g, got, want)
			}
			if got {
				set++
			}
		}
		if set != d.Grains(i) {
			t.Errorf("segment %d: %d grains, its page says %d", i, set, d.Grains(i))
		}
	}
}
