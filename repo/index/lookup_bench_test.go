package index

import (
	"fmt"
	"testing"

	"vaultfs/chunk"
	"vaultfs/repo/format"
)

// BenchmarkFirstUsable asks as an ingest does: for chunks that are stored and
// for new ones, in an index of one table that keeps its blocks and in one that is too
// large for it.
func BenchmarkFirstUsable(b *testing.B) {
	for _, count := range []int{100_000, format.MaxRunEntries} {
		x, err := Open(b.TempDir())
		if err != nil {
			b.Fatal(err)
		}
		defer x.Close()
		run := benchRun(1)
		run.Entries = run.Entries[:count]
		head := &format.Head{Runs: []format.RunName{{Run: format.RunID{1}}}}
		if err := x.Sync(head, func(format.RunName) (*format.Run, error) { return run, nil }); err != nil {
			b.Fatal(err)
		}
		b.Run(fmt.Sprintf("stored/%d", count), func(b *testing.B) {
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				if found, _ := x.FirstUsable(run.Entries[i*7919%count].ID); len(found) != 1 {
					b.Fatal("not found")
				}
			}
		})
		b.Run(fmt.Sprintf("new/%d", count), func(b *testing.B) {
			b.ReportAllocs()
			var id chunk.ID
			for i := 0; b.Loop(); i++ {
				id = run.Entries[i*7919%count].ID
				id[31]++
				if found, _ := x.FirstUsable(id); len(found) != 0 {
					b.Fatal("found")
				}
			}
		})
	}
}
