package bench

import (
	"testing"

	"vaultfs/internal/testrepo"
)

// The repository itself is verified, every byte of it, when the test is over.
func TestGenerateMakesWhatWasAskedFor(t *testing.T) {
	r := testrepo.New(t)
	b := Big{Chunks: 6_000, Snapshots: 6, Disks: 1, Trees: 1, Noise: 64, Parallel: 2}
	var last BigProgress
	b.Progress = func(p BigProgress) { last = p }
	for again := range 2 {
		if err := b.Generate(t.Context(), r); err != nil {
			t.Fatal(err)
		}
		if last.Snapshots != 6 || last.Of != 6 {
			t.Errorf("%d of %d snapshots", last.Snapshots, last.Of)
		}
		if again == 0 && (last.Chunks < 5_500 || last.Chunks > 6_500) {
			t.Errorf("%d chunks, want about 6000", last.Chunks)
		}
		newest, err := newestSnapshots(t.Context(), r)
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range []string{"disk/big-000", "tree/big-000"} {
			if s := newest[name]; s == nil || s.Seq != uint64(3*(again+1)) {
				t.Errorf("newest of %s: %+v", name, s)
			}
		}
	}
}

// A later snapshot shares most of the one before.
func TestGenerateChangesLittle(t *testing.T) {
	r := testrepo.New(t)
	b := Big{Chunks: 5120, Snapshots: 11, Disks: 1, Noise: 64, Parallel: 1}
	if err := b.Generate(t.Context(), r); err != nil {
		t.Fatal(err)
	}
	all, err := r.Snapshots(t.Context())
	if err != nil || len(all) != 11 {
		t.Fatalf("%d snapshots, %v", len(all), err)
	}
	old, err := r.OpenDisk(t.Context(), *all[9].Item(diskItem))
	if err != nil {
		t.Fatal(err)
	}
	now, err := r.OpenDisk(t.Context(), *all[10].Item(diskItem))
	if err != nil {
		t.Fatal(err)
	}
	other := 0
	for i := range old.Segments() {
		a, err := old.Segment(i)
		if err != nil {
			t.Fatal(err)
		}
		b, err := now.Segment(i)
		if err != nil {
			t.Fatal(err)
		}
		for k := range a {
			if a[k] != b[k] {
				other++
				break
			}
		}
	}
	// The 256 new chunks are half a segment.
	if old.Segments() != 5 || other != 1 {
		t.Errorf("%d of %d segments have changed, want 1 of 5", other, old.Segments())
	}
}

func TestGenerateRefusesWhatCannotBe(t *testing.T) {
	for _, b := range []Big{
		{Chunks: 10, Snapshots: 1, Parallel: 1, Noise: 64},
		{Snapshots: 1, Disks: 1, Parallel: 1, Noise: 64},
		{Chunks: 10, Snapshots: 1, Disks: 1, Parallel: 1, Noise: MinNoise - 1},
		{Chunks: 10, Snapshots: 1, Disks: 1, Parallel: 1, Noise: MaxNoise + 1},
	} {
		if err := b.Generate(t.Context(), nil); err == nil {
			t.Errorf("%+v is made", b)
		}
	}
}
