package index

import (
	"testing"

	"vaultfs/repo/format"
)

// A small table reads a block once, and a large one each time.
func TestSmallTableKeepsItsBlocks(t *testing.T) {
	for _, large := range []bool{false, true} {
		x, err := Open("")
		if err != nil {
			t.Fatal(err)
		}
		defer x.Close()
		run := benchRun(1)
		if !large {
			run.Entries = run.Entries[:100_000]
		}
		head := &format.Head{Runs: []format.RunName{{Run: format.RunID{1}}}}
		if err := x.Sync(head, func(format.RunName) (*format.Run, error) { return run, nil }); err != nil {
			t.Fatal(err)
		}
		id := run.Entries[500].ID
		if len(x.Lookup(id)) != 1 {
			t.Fatal("a chunk is not found")
		}
		x.tables[0].file.Close()
		if found := len(x.Lookup(id)) == 1; found == large {
			t.Errorf("found without the file: %v, in a table of %d chunks", found, len(run.Entries))
		}
		if len(x.Lookup(run.Entries[90_000].ID)) != 0 {
			t.Error("a block that was never read is kept")
		}
	}
}
