package index

import (
	"crypto/rand"
	"runtime"
	"testing"

	"vaultfs/repo/format"
)

// A session lists all packs before it goes on from an earlier snapshot: a
// repository of terabytes has a million.
func TestPacksAreSmall(t *testing.T) {
	x, err := Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer x.Close()
	const runs, each = 4, 30_000
	for i := range byte(runs) {
		run := &format.Run{Sessions: []format.RunSession{{ID: format.SnapshotID{i}}}}
		for k := range uint32(each) {
			p := format.RunPack{Kind: format.DataPack, Size: 16 << 20}
			rand.Read(p.Hash[:])
			e := format.RunEntry{Pack: k}
			rand.Read(e.ID[:])
			run.Packs, run.Entries = append(run.Packs, p), append(run.Entries, e)
		}
		if err := x.Add(format.RunName{Session: format.SnapshotID{i}, Run: format.RunID{1}}, run); err != nil {
			t.Fatal(err)
		}
	}
	if len(x.tables) == 0 || len(x.recent.packs) == 0 {
		t.Fatal("not both of table and memory are tried")
	}
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	packs, err := x.Packs()
	runtime.ReadMemStats(&after)
	if err != nil || len(packs.List) != runs*each {
		t.Fatal(len(packs.List), err)
	}
	if b := (after.TotalAlloc - before.TotalAlloc) / (runs * each); b > 52 {
		t.Errorf("%d bytes are allocated for each pack", b)
	}
}
