package repo

import (
	"cmp"
	"math/rand/v2"
	"slices"
	"time"

	"vaultfs/repo/format"
	"vaultfs/repo/index"
)

// A Turn says how far verify has come in reading all packs again and again: those
// of the chosen snapshots, or else all that are listed.
type Turn struct {
	Packs  PackCount // that are there to be read
	Unread PackCount // of which nobody knows that they were ever read
	// Oldest is when that pack was read which was not read for longest, of those
	// that were; zero if none was.
	Oldest time.Time
	// Runs is how many runs that read as much as this one it takes to read every
	// pack once.
	Runs int
}

// A turn is the order in which packs are read, and how much of them.
type turn struct {
	packs  []turnPack // that are read if time permits
	wanted int64      // bytes of those
	total  PackCount
}

type turnPack struct {
	hash format.PackHash
	size int64 // bytes, as it lies there
	read int64 // when it was read last, Unix seconds; 0 if that is not known
}

// newTurn puts the packs in order: those that were never read, as far as is
// known, then those that were not read for longest. Among equals chance decides,
// so that no part of a repository is always the last.
func (v *verifier) newTurn() *turn {
	t := new(turn)
	times := v.ledger.readTimes(v.packs.Packs, v.all)
	for i, p := range v.packs.List {
		if v.inTurn(i) {
			t.packs = append(t.packs, turnPack{p.Hash, int64(v.packs.size[i]), moment(times[i])})
			t.total.Packs, t.total.Bytes = t.total.Packs+1, t.total.Bytes+int64(v.packs.size[i])
		}
	}
	rand.Shuffle(len(t.packs), func(i, j int) { t.packs[i], t.packs[j] = t.packs[j], t.packs[i] })
	slices.SortStableFunc(t.packs, func(a, b turnPack) int { return cmp.Compare(a.read, b.read) })
	if share := v.options.Sample; share > 0 {
		t.cut(int64(share * float64(t.total.Bytes)))
	} else {
		t.wanted = t.total.Bytes
	}
	return t
}

// cut leaves the first packs that together have that many bytes: never less, so
// that a turn takes no more runs than the share promises.
func (t *turn) cut(bytes int64) {
	for i, p := range t.packs {
		if i > 0 && t.wanted >= bytes {
			t.packs = t.packs[:i]
			return
		}
		t.wanted += p.size
	}
}

// inTurn tells whether a pack is to be read: it is there, and a snapshot may
// need it. What is condemned and needed by none is about to be removed.
func (v *verifier) inTurn(i int) bool {
	used := v.packs.state[i]&packUsed != 0
	_, condemned := v.packs.Condemned(i)
	return v.packs.size[i] != notThere && (used || v.options.Snapshots == nil && !condemned)
}

// sum says how far reading has come, after a run.
func (t *turn) sum(v *verifier) *Turn {
	after := v.recorder.after()
	times := after.readTimes(v.packs.Packs, v.all)
	sum := &Turn{Packs: t.total}
	oldest := int64(0)
	for i := range v.packs.List {
		if !v.inTurn(i) {
			continue
		}
		switch read := moment(times[i]); {
		case read == 0:
			sum.Unread.Packs, sum.Unread.Bytes = sum.Unread.Packs+1, sum.Unread.Bytes+int64(v.packs.size[i])
		case oldest == 0 || read < oldest:
			oldest = read
		}
	}
	sum.Oldest = unixTime(oldest)
	if n := v.result.Bytes; n > 0 {
		sum.Runs = int((t.total.Bytes + n - 1) / n)
	}
	return sum
}

// readTimes tells when packs were last read, in the order of the list; below 0,
// damage was found then, and 0 is never. A pack that the ledger does not know
// was read when it was written, if the snapshot that it was written for is one of
// those given and says so.
func (l *Ledger) readTimes(packs *index.Packs, snapshots []*Snapshot) []int64 {
	own := map[format.SnapshotID]int64{}
	for _, s := range snapshots {
		if id, err := format.ParseSnapshotID(s.ID); err == nil && readBack(s) && l.believes(s.Time.Unix()) {
			own[id] = s.Time.Unix()
		}
	}
	times := make([]int64, len(packs.List))
	for i, p := range packs.List {
		times[i] = l.pack(p.Hash)
		if written := own[packs.Owner(i)]; written > moment(times[i]) {
			times[i] = written
		}
	}
	return times
}
