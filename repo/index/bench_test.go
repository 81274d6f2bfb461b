package index

import (
	"encoding/binary"
	"math/rand/v2"
	"runtime"
	"slices"
	"testing"

	"vaultfs/chunk"
	"vaultfs/repo/format"
	"vaultfs/repo/seal"
)

// benchRun is a run of as many entries as one may have, with random IDs, in
// packs of 128.
func benchRun(seed byte) *format.Run {
	rng := rand.NewChaCha8([32]byte{seed})
	run := &format.Run{Sessions: []format.RunSession{{ID: format.SnapshotID{seed}, SealedSecret: make([]byte, seal.SealedSecretSize)}}}
	for i := range format.MaxRunEntries {
		e := format.RunEntry{PackEntry: format.PackEntry{Kind: format.Data, Offset: 64, Sealed: 1000, Plain: 1000}, Pack: uint32(i / 128), Ordinal: uint32(i % 128)}
		rng.Read(e.ID[:])
		if i%128 == 0 {
			p := format.RunPack{Kind: format.DataPack, Size: 16 << 20}
			rng.Read(p.Hash[:])
			run.Packs = append(run.Packs, p)
		}
		run.Entries = append(run.Entries, e)
	}
	slices.SortFunc(run.Entries, format.RunEntry.Compare)
	return run
}

// BenchmarkFiveMillion builds an index of 20 full runs, opens it and looks
// chunks up. Bytes are those of the heap that stay.
func BenchmarkFiveMillion(b *testing.B) {
	const runs = 20
	dir := b.TempDir()
	var ids []chunk.ID
	b.Run("build", func(b *testing.B) {
		for b.Loop() {
			x, err := Open(dir)
			if err != nil {
				b.Fatal(err)
			}
			head := new(format.Head)
			for i := range runs {
				head.Runs = append(head.Runs, format.RunName{Session: format.SnapshotID{byte(i)}, Run: format.RunID{1}})
			}
			err = x.Sync(head, func(n format.RunName) (*format.Run, error) {
				run := benchRun(n.Session[0])
				for i := 0; i < len(run.Entries); i += 1000 {
					ids = append(ids, run.Entries[i].ID)
				}
				return run, nil
			})
			if err != nil {
				b.Fatal(err)
			}
			if err := x.Close(); err != nil {
				b.Fatal(err)
			}
		}
	})
	before := heap()
	b.Run("open", func(b *testing.B) {
		for b.Loop() {
			x, err := Open(dir)
			if err != nil {
				b.Fatal(err)
			}
			x.Close()
		}
	})
	x, err := Open(dir)
	if err != nil {
		b.Fatal(err)
	}
	defer x.Close()
	b.Logf("%d entries, %d tables, %d bytes resident", x.Len(), len(x.tables), heap()-before)
	b.Run("found", func(b *testing.B) {
		start := cpuTime()
		for i := 0; b.Loop(); i++ {
			if len(x.Lookup(ids[i*7919%len(ids)])) == 0 {
				b.Fatal("not found")
			}
		}
		b.ReportMetric(float64(cpuTime()-start)/float64(b.N), "cpu-ns/op")
	})
	b.Run("absent", func(b *testing.B) {
		var id chunk.ID
		start := cpuTime()
		for i := 0; b.Loop(); i++ {
			binary.BigEndian.PutUint64(id[:], uint64(i)*0x9e3779b97f4a7c15)
			x.Lookup(id)
		}
		b.ReportMetric(float64(cpuTime()-start)/float64(b.N), "cpu-ns/op")
	})
}

func heap() int64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}
