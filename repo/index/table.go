package index

import (
	"errors"
	"fmt"
	"os"
	"sync/atomic"

	"vaultfs/repo/format"
)

// ErrTable says that a table of the local copy cannot be read. The index is then
// Stale, and Sync mends it.
var ErrTable = errors.New("a table of the local index is damaged")

// A table is an immutable sorted file of entries. Fences, sessions and sets are
// in memory; entries, packs and secrets are read when they are asked for, and what
// was read last of them is kept. It is a source.
type table struct {
	layout
	file    *os.File
	trailer []byte
	bad     atomic.Bool  // it could not be read
	shares  atomic.Int32 // that are held beside the first

	hot      hot
	fences   []uint64
	sessions []format.SnapshotID // sorted
	runSets  []runSet

	// What is in force changes with the head; the index's lock guards it.
	runs  []format.RunName // zero: not in force any more
	live  []bool           // by set
	count int64            // entries in force

	// What was read last, by number: chunks that are looked up one after the other
	// are mostly in a few packs, and a backup that has hardly changed asks for
	// chunks in all packs of its source, to and fro.
	nearPacks   []atomic.Pointer[nearPack]
	nearSecrets [64]atomic.Pointer[nearSecret]
}

// maxNearPacks bounds the packs that a table keeps: 130 KB.
const maxNearPacks = 1024

type nearPack struct {
	number uint32
	set    uint32
	pack   format.RunPack
}

type nearSecret struct {
	number uint32
	secret []byte
}

// share makes one more close necessary before the file is closed.
func (t *table) share() *table {
	t.shares.Add(1)
	return t
}

func (t *table) close() {
	if t.shares.Add(-1) < 0 {
		t.file.Close()
	}
}

// fail notes that the table cannot be read.
func (t *table) fail(err error) error {
	t.bad.Store(true)
	if errors.Is(err, ErrTable) {
		return err
	}
	return fmt.Errorf("%w: %w", ErrTable, err)
}

// weigh finds out which sets are in force, after runs have changed.
func (t *table) weigh() {
	t.count = 0
	for i, s := range t.runSets {
		if t.live[i] = s.inForce(t.runs); t.live[i] {
			t.count += s.entries
		}
	}
}
