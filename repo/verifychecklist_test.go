package repo_test

import (
	"fmt"
	"slices"
	"testing"

	"vaultfs/repo"
)

// However many chunks are looked for at a time, and however many lacking ones
// are remembered: the same is found, and told of the same snapshots.
func TestChecklistFindsTheSame(t *testing.T) {
	t.Cleanup(repo.SmallPacks())
	st := newStore(t)
	r := manyPacks(t, st, 1, 2, 3)
	if _, err := newBackup("vm/x", 40).ingest(t.Context(), r); err != nil {
		t.Fatal(err)
	}
	told := func(o repo.VerifyOptions) (all []string) {
		for _, f := range verify(t, r, o).Findings {
			for _, touched := range f.Touches {
				all = append(all, fmt.Sprint(f.Object, " ", touched.Snapshot.Source, " ", touched.Item, " ", touched.Bytes, " ", touched.Paths))
			}
			all = append(all, fmt.Sprint(f.Object, " ", f.Err, " ", f.Unneeded))
		}
		return all
	}
	for i, s := range mustSnapshots(t, r) {
		name := dataPack(t, st, s.ID)
		if i%2 == 0 {
			spoil(t, st, name)
		} else if err := st.Delete(t.Context(), name); err != nil {
			t.Fatal(err)
		}
	}
	for _, o := range []repo.VerifyOptions{{ReadData: true}, {}} {
		want := told(o)
		if len(want) < 4 {
			t.Fatalf("%q", want)
		}
		for _, size := range []int{1, 2, 7} {
			for _, most := range []int{0, 1, 1000} {
				undo := repo.ShortChecklists(size, most)
				if got := told(o); !slices.Equal(got, want) {
					t.Errorf("%d at a time, %d remembered: %q, want %q", size, most, got, want)
				}
				undo()
			}
		}
	}
}
