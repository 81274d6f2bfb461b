package repo

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"vaultfs/repo/format"
	"vaultfs/repo/store"
)

// recordInterval is how often it is recorded what was read: a run that is killed
// loses no more. Tests lower it.
var recordInterval = 30 * time.Second

// A recorder writes into the ledger what a run of verify has read. It keeps to
// one object: what it writes later says all that it wrote before.
type recorder struct {
	repo   *Repo
	before *Ledger
	off    bool // it cannot be recorded, and that was told

	mu    sync.Mutex
	proof proof
	fresh bool     // there is something that was not recorded yet
	parts []string // objects that were written
	last  time.Time
}

func newRecorder(v *verifier) *recorder {
	// What a newer version has added to, this one leaves alone.
	return &recorder{repo: v.repo, before: v.ledger, last: time.Now(), off: len(v.result.Newer) > 0}
}

// pack notes that a pack was read now.
func (r *recorder) pack(hash format.PackHash, good bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	t := r.following(r.before.pack(hash))
	if !good {
		t = -t
	}
	r.proof.packs = append(r.proof.packs, format.LedgerPack{Pack: hash, Time: t})
	r.fresh = true
}

// following is the time of what was found now, where the ledger had old: later than
// that, as it is.
func (r *recorder) following(old int64) int64 {
	return max(wallClock().Unix(), moment(old)+1)
}

// after is the ledger with what was read in this run.
func (r *recorder) after() *Ledger {
	r.mu.Lock()
	defer r.mu.Unlock()
	l := &Ledger{now: max(r.before.now, wallClock().Unix())}
	packs := slices.SortedFunc(slices.Values(r.proof.packs), comparePack)
	l.all.Packs = unite(slices.Clone(r.before.all.Packs), packs, comparePack, l.laterPack)
	l.all.Snapshots = r.before.all.Snapshots
	return l
}

// tick records what there is when it is time.
func (r *recorder) tick(ctx context.Context) {
	r.mu.Lock()
	due := time.Since(r.last) >= recordInterval
	r.mu.Unlock()
	if due {
		r.flush(context.WithoutCancel(ctx))
	}
}

// flush records what was not recorded yet. That it cannot be is told once, and
// stops nothing: what was read is as good without.
func (r *recorder) flush(ctx context.Context) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.off || !r.fresh {
		return
	}
	parts, err := r.repo.record(ctx, r.proof)
	if err == nil {
		err = r.repo.deleteAll(ctx, r.parts)
		r.parts, r.fresh, r.last = parts, false, time.Now()
	}
	if err != nil {
		r.fail(err)
	}
}

func (r *recorder) fail(err error) {
	r.off = true
	if errors.Is(err, store.ErrReadOnly) {
		r.repo.warn("the repository cannot be written to: the next run does not know what this one has read")
		return
	}
	r.repo.warn(fmt.Sprintf("the next run may not know what this one has read: %v", err))
}

// recordEnd records which snapshots were proved, or lost something, and puts the
// ledger in order.
func (v *verifier) recordEnd(ctx context.Context) error {
	r := v.recorder
	after := r.after()
	times := after.readTimes(v.packs.Packs, v.all)
	r.mu.Lock()
	r.proof.snapshots = v.proved(times)
	r.proof.packs = v.inherited(r.proof.packs, times)
	r.fresh = true
	r.mu.Unlock()
	r.flush(context.WithoutCancel(ctx))
	if r.off {
		return nil
	}
	known := map[string]bool{}
	for _, s := range v.all {
		known[s.ID] = true
	}
	err := v.repo.joinLedger(ctx, func(hash format.PackHash) bool {
		_, ok := v.packs.Find(hash)
		return ok
	}, func(id format.SnapshotID) bool { return v.options.Snapshots != nil || known[id.String()] })
	if err != nil {
		r.fail(err)
	}
	return nil
}

// inherited adds to packs those that are known to have been read when they were
// written, and that the ledger does not know: once their snapshot is forgotten,
// nobody could tell any more.
func (v *verifier) inherited(packs []format.LedgerPack, times []int64) []format.LedgerPack {
	for i, p := range v.packs.List {
		if v.packs.state[i]&packRead == 0 && times[i] > 0 && v.ledger.pack(p.Hash) == 0 {
			packs = append(packs, format.LedgerPack{Pack: p.Hash, Time: times[i]})
		}
	}
	return packs
}

// proved tells which snapshots were proved, and which lost something. One that
// has lost nothing is proved as of the time at which the oldest read of any pack
// that the snapshots need was: when a turn over all packs is complete that is
// when the turn began, whatever the share that a run reads.
func (v *verifier) proved(times []int64) (list []format.LedgerSnapshot) {
	oldest, all := v.oldestRead(times)
	lost := map[string]bool{}
	for object, f := range v.findings {
		lost[object] = true
		for _, t := range f.Touches {
			lost["snapshot "+t.Snapshot.ID] = true
		}
	}
	for _, s := range v.all {
		id, err := format.ParseSnapshotID(s.ID)
		if err != nil {
			continue
		}
		old := v.ledger.snapshot(s)
		switch {
		case lost["snapshot "+s.ID]:
			list = append(list, format.LedgerSnapshot{Snapshot: id, Time: -v.recorder.following(old)})
		case all && old < 0:
			list = append(list, format.LedgerSnapshot{Snapshot: id, Time: v.recorder.following(old)})
		case oldest > 0:
			list = append(list, format.LedgerSnapshot{Snapshot: id, Time: oldest})
		}
	}
	return list
}

// oldestRead is the time at which that pack was read which was not read for
// longest, of those that a snapshot needs; 0 if one never was. All tells whether
// they were all read in this run: then it does not matter that one is damaged,
// because it is known whom that touches.
func (v *verifier) oldestRead(times []int64) (oldest int64, all bool) {
	all, known := true, true
	for i := range v.packs.List {
		state := v.packs.state[i]
		if state&packUsed == 0 {
			continue
		}
		if state&packRead == 0 {
			all, known = false, known && times[i] > 0
		}
		if read := moment(times[i]); oldest == 0 || read < oldest {
			oldest = read
		}
	}
	if !known {
		return 0, false
	}
	return oldest, all
}
