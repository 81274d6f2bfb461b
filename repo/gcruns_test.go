package repo

import (
	"testing"

	"vaultfs/repo/format"
)

// Runs of an index that was made anew name many sessions, of which one run may not
// name any number.
func TestRunsOfManySessionsAreNotJoined(t *testing.T) {
	run := func(sessions int) *format.Run {
		r := new(format.Run)
		for i := range sessions {
			r.Sessions = append(r.Sessions, format.RunSession{ID: newSnapshotID()})
			r.Packs = append(r.Packs, format.RunPack{Hash: format.PackHash(randomHash()), Session: uint32(i), Kind: format.StructurePack})
		}
		return r
	}
	if !fit(run(2000), run(2000)) {
		t.Error("two small runs are not joined")
	}
	a, b := run(format.MaxRunSessions-10), run(11)
	if fit(a, b) || fit(&format.Run{Entries: make([]format.RunEntry, runEntries)}, &format.Run{Entries: make([]format.RunEntry, 1)}) {
		t.Error("runs are joined to one that nobody could read")
	}
	if joined := joinRuns(joinRuns(nil, a), run(10)); len(joined.Sessions) != format.MaxRunSessions || len(joined.Packs) != format.MaxRunSessions {
		t.Errorf("joined are %d sessions", len(joined.Sessions))
	}
}

func randomHash() (h [32]byte) {
	for i := range 2 {
		id := newSnapshotID()
		copy(h[16*i:], id[:])
	}
	return h
}
