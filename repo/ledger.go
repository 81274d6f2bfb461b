package repo

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"vaultfs/repo/format"
	"vaultfs/repo/store"
)

// A Ledger tells when packs and snapshots were last proved, or found damaged.
//
// It is made of objects ledger/<random>, each written once. Of each pack and
// each snapshot the latest time counts, so that they can be read in any order
// and replaced by fewer that say the same.
type Ledger struct {
	all   format.Ledger // the union of what could be read
	now   int64         // when it was read, Unix seconds
	read  []string      // the objects that all is the union of
	wrong []string      // objects that were read and are damaged: they say nothing
}

// ledgerTolerance is by how much a time may be in the future, in seconds: the
// clocks of several hosts are not quite the same. A time that is further ahead
// comes from a clock that was wrong. It proves nothing.
const ledgerTolerance = 3600

// wallClock is time.Now; tests set it.
var wallClock = time.Now

// Ledger reads the ledger. What cannot be read of it counts as not there; the
// error, which may come beside the rest, says so.
func (r *Repo) Ledger(ctx context.Context) (*Ledger, error) {
	l := &Ledger{now: wallClock().Unix()}
	var names []string
	err := r.store.List(ctx, "ledger", func(i store.Info) error {
		names = append(names, i.Name)
		return nil
	})
	if err != nil {
		return l, err
	}
	slices.Sort(names)
	var errs []error
	for _, name := range names {
		part, err := r.readLedgerPart(ctx, name)
		switch {
		case errors.Is(err, store.ErrNotFound): // joined with others meanwhile
			if err := ctx.Err(); err != nil {
				return l, err
			}
		case err == nil:
			l.all.Packs = unite(l.all.Packs, part.Packs, comparePack, l.laterPack)
			l.all.Snapshots = unite(l.all.Snapshots, part.Snapshots, compareSnapshot, l.laterSnapshot)
			l.read = append(l.read, name)
		default:
			errs = append(errs, err)
			if errors.Is(err, format.ErrDamaged) {
				l.wrong = append(l.wrong, name)
			}
		}
	}
	return l, errors.Join(errs...)
}

// readLedgerPart reads one object. One that is gone is store.ErrNotFound.
func (r *Repo) readLedgerPart(ctx context.Context, name string) (*format.Ledger, error) {
	b, err := r.store.Get(ctx, name, format.MaxLedgerSize)
	if errors.Is(err, store.ErrNotFound) {
		return nil, err
	}
	var part *format.Ledger
	if err == nil {
		part, err = format.DecodeLedger(r.ledgerKey, name, b)
	}
	if errors.Is(err, format.ErrNewer) {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return part, damage(ledgerLabel(name), err)
}

func ledgerLabel(name string) string {
	_, random, _ := strings.Cut(name, "/")
	return "ledger " + random[:min(16, len(random))]
}

// Verified returns when a snapshot was last proved; the zero time if it never
// was, or if damage was found in it since. It is the later of
//
//   - when verify had read all packs that the snapshot needs and found nothing
//     of it lost: of the packs that it read at several times, the oldest counts;
//   - when the snapshot was made, if its ingest read back every pack that it
//     wrote. What the ingest took over from an earlier snapshot or found stored
//     already it did not read: such a snapshot is as good as those packs are,
//     which an ingest before it has read back, or verify. ReadWhole tells the two
//     apart.
//
// By that an ingest that found all stored already counts too: what it names is
// what snapshots before it name.
func (l *Ledger) Verified(s *Snapshot) time.Time {
	t := l.snapshot(s)
	if t < 0 {
		return time.Time{}
	}
	if readBack(s) && s.Time.Unix() > t {
		return s.Time
	}
	return unixTime(t)
}

// readBack tells whether the ingest of a snapshot has read back all that it
// wrote. It says so in words, which begin with "not" if it has not.
func readBack(s *Snapshot) bool {
	return s.Info.Verified != "" && !strings.HasPrefix(s.Info.Verified, "not ")
}

// ReadWhole returns when verify last read all that a snapshot needs and found it
// good; the zero time if it never did, or found damage since.
func (l *Ledger) ReadWhole(s *Snapshot) time.Time { return unixTime(max(0, l.snapshot(s))) }

// Damaged returns when verify found that something of a snapshot is lost; the
// zero time if it was not so when it last looked.
func (l *Ledger) Damaged(s *Snapshot) time.Time { return unixTime(max(0, -l.snapshot(s))) }

// snapshot is what the ledger says of a snapshot: below 0, damage was found in
// it; 0 is nothing.
func (l *Ledger) snapshot(s *Snapshot) int64 {
	id, err := format.ParseSnapshotID(s.ID)
	if err != nil {
		return 0
	}
	at, ok := slices.BinarySearchFunc(l.all.Snapshots, format.LedgerSnapshot{Snapshot: id}, compareSnapshot)
	if !ok || !l.believes(l.all.Snapshots[at].Time) {
		return 0
	}
	return l.all.Snapshots[at].Time
}

// pack is what the ledger says of a pack, in the same way.
func (l *Ledger) pack(hash format.PackHash) int64 {
	at, ok := slices.BinarySearchFunc(l.all.Packs, format.LedgerPack{Pack: hash}, comparePack)
	if !ok || !l.believes(l.all.Packs[at].Time) {
		return 0
	}
	return l.all.Packs[at].Time
}

// believes tells whether a time can be right: it is not in the future.
func (l *Ledger) believes(t int64) bool { return t != 0 && moment(t) <= l.now+ledgerTolerance }

// later is the one of two times that counts: the later of those that can be
// right. If none can, the later all the same: it may be this clock that is wrong.
func (l *Ledger) later(a, b int64) int64 {
	if l.believes(a) != l.believes(b) {
		if l.believes(a) {
			return a
		}
		return b
	}
	if moment(a) >= moment(b) {
		return a
	}
	return b
}

func (l *Ledger) laterPack(a, b format.LedgerPack) format.LedgerPack {
	a.Time = l.later(a.Time, b.Time)
	return a
}

func (l *Ledger) laterSnapshot(a, b format.LedgerSnapshot) format.LedgerSnapshot {
	a.Time = l.later(a.Time, b.Time)
	return a
}

// moment is when something was proved or, below 0, found damaged.
func moment(t int64) int64 { return max(t, -t) }

func unixTime(t int64) time.Time {
	if t == 0 {
		return time.Time{}
	}
	return time.Unix(t, 0)
}

func comparePack(a, b format.LedgerPack) int { return a.Pack.Compare(b.Pack) }

func compareSnapshot(a, b format.LedgerSnapshot) int {
	return bytes.Compare(a.Snapshot[:], b.Snapshot[:])
}

// unite merges two sorted lists into one; what is in both, join makes one of.
func unite[T any](a, b []T, compare func(a, b T) int, join func(a, b T) T) []T {
	if len(a) == 0 {
		return b
	}
	all := make([]T, 0, len(a)+len(b))
	for len(a) > 0 && len(b) > 0 {
		switch c := compare(a[0], b[0]); {
		case c < 0:
			all, a = append(all, a[0]), a[1:]
		case c > 0:
			all, b = append(all, b[0]), b[1:]
		default:
			all, a, b = append(all, join(a[0], b[0])), a[1:], b[1:]
		}
	}
	return append(append(all, a...), b...)
}
