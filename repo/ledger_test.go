package repo

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"vaultfs/repo/format"
	"vaultfs/repo/seal"
	"vaultfs/repo/store"
)

// ledgerRepo is an empty repository on a disk in memory.
func ledgerRepo(t *testing.T, m *store.Mem) *Repo {
	t.Helper()
	st, err := m.Store()
	if err != nil {
		t.Fatal(err)
	}
	o := InitOptions{Password: []byte("secret"), Cost: seal.KDF{Memory: 64, Time: 1, Threads: 1}}
	if err := Init(t.Context(), st, o); err != nil && !errors.Is(err, ErrExists) {
		t.Fatal(err)
	}
	r, err := Open(t.Context(), st, OpenOptions{Password: []byte("secret")})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.Close() })
	return r
}

func packNumber(n int) (h format.PackHash) {
	binary.BigEndian.PutUint64(h[:], uint64(n)*0x9e3779b97f4a7c15)
	return h
}

func snapshotNumber(n int) format.SnapshotID {
	h := packNumber(n)
	return format.SnapshotID(h[:16])
}

func ledgerObjects(t *testing.T, r *Repo) (names []string) {
	t.Helper()
	if err := r.store.List(t.Context(), "ledger", func(i store.Info) error { names = append(names, i.Name); return nil }); err != nil {
		t.Fatal(err)
	}
	return names
}

func mustLedger(t *testing.T, r *Repo) *Ledger {
	t.Helper()
	l, err := r.Ledger(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func everyPack(format.PackHash) bool { return true }

func everySnapshot(format.SnapshotID) bool { return true }

// Whatever is recorded in whatever order, joined now and then: the latest time
// of each counts, and there are never many objects.
func TestLedgerIsItsUnion(t *testing.T) {
	was, entries := ledgerParts, ledgerEntries
	ledgerParts, ledgerEntries = 4, 10
	defer func() { ledgerParts, ledgerEntries = was, entries }()
	r := ledgerRepo(t, store.NewMem())
	rng := rand.New(rand.NewPCG(1, 2))
	packs, snapshots := map[format.PackHash]int64{}, map[format.SnapshotID]int64{}
	for round := range 60 {
		var p proof
		for range rng.IntN(8) {
			hash, at := packNumber(rng.IntN(40)), 1+rng.Int64N(1000)
			p.packs = unite(p.packs, []format.LedgerPack{{Pack: hash, Time: at}}, comparePack, mustLedger(t, r).laterPack)
			packs[hash] = max(packs[hash], at)
		}
		id, at := snapshotNumber(rng.IntN(10)), 1+rng.Int64N(1000)
		p.snapshots = []format.LedgerSnapshot{{Snapshot: id, Time: at}}
		snapshots[id] = max(snapshots[id], at)
		if _, err := r.record(t.Context(), p); err != nil {
			t.Fatal(err)
		}
		if err := r.joinLedger(t.Context(), everyPack, everySnapshot); err != nil {
			t.Fatal(err)
		}
		l := mustLedger(t, r)
		for hash, at := range packs {
			if got := l.pack(hash); got != at {
				t.Fatalf("round %d: pack %v at %d, want %d", round, hash, got, at)
			}
		}
		for id, at := range snapshots {
			if got := l.Verified(&Snapshot{ID: id.String()}); got.Unix() != at {
				t.Fatalf("round %d: snapshot %v at %v, want %d", round, id, got, at)
			}
		}
		if n := len(ledgerObjects(t, r)); n > ledgerParts+6 {
			t.Fatalf("round %d: there are %d objects", round, n)
		}
	}
}

// What is gone leaves the ledger when it is joined; what is there stays.
func TestLedgerForgetsWhatIsGone(t *testing.T) {
	r := ledgerRepo(t, store.NewMem())
	for i := range ledgerParts + 2 {
		if err := r.recordRead(t.Context(), []format.PackHash{packNumber(i)}); err != nil {
			t.Fatal(err)
		}
	}
	gone := packNumber(3)
	keep := func(h format.PackHash) bool { return h != gone }
	if err := r.joinLedger(t.Context(), keep, everySnapshot); err != nil {
		t.Fatal(err)
	}
	l := mustLedger(t, r)
	if n := len(ledgerObjects(t, r)); n != 1 || l.pack(gone) != 0 || l.pack(packNumber(4)) == 0 {
		t.Errorf("%d objects; gone %d, there %d", n, l.pack(gone), l.pack(packNumber(4)))
	}
}

// A crash at any operation of a join loses nothing of what was recorded.
func TestLedgerJoinCrashes(t *testing.T) {
	base := store.NewMem()
	r := ledgerRepo(t, base)
	for i := range ledgerParts + 2 {
		if err := r.recordRead(t.Context(), []format.PackHash{packNumber(i)}); err != nil {
			t.Fatal(err)
		}
	}
	for n := 1; ; n++ {
		m := base.Kill()
		crashing := ledgerRepo(t, m)
		before := m.Ops()
		m.CrashAt(before + n)
		err := crashing.joinLedger(t.Context(), everyPack, everySnapshot)
		for _, disk := range []*store.Mem{m.Kill(), m.Crash(rand.New(rand.NewPCG(1, uint64(n))))} {
			l := mustLedger(t, ledgerRepo(t, disk))
			for i := range ledgerParts + 2 {
				if l.pack(packNumber(i)) == 0 {
					t.Fatalf("crash at operation %d: pack %d is forgotten", n, i)
				}
			}
		}
		if err == nil {
			break
		}
	}
}

// Two who join at once, each not seeing what the other does, lose nothing.
func TestLedgerJoinedByTwo(t *testing.T) {
	m := store.NewMem()
	one, two := ledgerRepo(t, m), ledgerRepo(t, m)
	for i := range ledgerParts + 2 {
		if err := one.recordRead(t.Context(), []format.PackHash{packNumber(i)}); err != nil {
			t.Fatal(err)
		}
	}
	done := make(chan error)
	for i, r := range []*Repo{one, two} {
		go func() {
			err := r.recordRead(context.Background(), []format.PackHash{packNumber(100 + i)})
			if err == nil {
				err = r.joinLedger(context.Background(), everyPack, everySnapshot)
			}
			done <- err
		}()
	}
	for range 2 {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
	l := mustLedger(t, one)
	for _, i := range []int{0, 1, ledgerParts + 1, 100, 101} {
		if l.pack(packNumber(i)) == 0 {
			t.Errorf("pack %d is forgotten", i)
		}
	}
}

// A part that is damaged in any way is told, says nothing, spoils nothing, and
// goes with the next join. One of a newer version stays, and stops the join.
func TestLedgerDamage(t *testing.T) {
	r := ledgerRepo(t, store.NewMem())
	for i := range 2 {
		if err := r.recordRead(t.Context(), []format.PackHash{packNumber(i)}); err != nil {
			t.Fatal(err)
		}
	}
	names := ledgerObjects(t, r)
	whole, err := r.store.Get(t.Context(), names[0], 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	other, err := r.store.Get(t.Context(), names[1], 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	flip := func(at int) []byte {
		b := bytes.Clone(whole)
		b[at] ^= 4
		return b
	}
	for how, b := range map[string][]byte{
		"empty": {}, "cut off": whole[:len(whole)/2], "magic": flip(2), "version": flip(7), "salt": flip(20),
		"content": flip(len(whole) - 30), "longer": append(bytes.Clone(whole), 1), "another's": other, "garbage": bytes.Repeat([]byte{7}, 300),
	} {
		t.Run(how, func(t *testing.T) {
			m := store.NewMem()
			r2 := ledgerRepo(t, m)
			r2.secrets, r2.config = r.secrets, r.config
			for i, b := range [][]byte{b, other} {
				if err := r2.store.Put(t.Context(), names[i], b); err != nil {
					t.Fatal(err)
				}
			}
			l, err := r2.Ledger(t.Context())
			if !errors.Is(err, ErrDamaged) || !strings.Contains(err.Error(), ledgerLabel(names[0])) {
				t.Errorf("it is not told: %v", err)
			}
			if l.pack(packNumber(0)) != 0 && l.pack(packNumber(1)) != 0 || l.pack(packNumber(0)) == 0 && l.pack(packNumber(1)) == 0 {
				t.Error("the good part is not read, or the damaged one is")
			}
			if err := r2.joinLedger(t.Context(), everyPack, everySnapshot); err != nil {
				t.Fatal(err)
			}
			mustLedger(t, r2)
		})
	}
}

func TestLedgerOfNewerVersion(t *testing.T) {
	r := ledgerRepo(t, store.NewMem())
	if err := r.recordRead(t.Context(), []format.PackHash{packNumber(1)}); err != nil {
		t.Fatal(err)
	}
	newer := append([]byte("vfsldgr\x02"), bytes.Repeat([]byte{9}, 200)...)
	if err := r.store.Put(t.Context(), "ledger/"+strings.Repeat("ab", 16), newer); err != nil {
		t.Fatal(err)
	}
	l, err := r.Ledger(t.Context())
	if !errors.Is(err, ErrNewerFormat) || errors.Is(err, ErrDamaged) || l.pack(packNumber(1)) == 0 {
		t.Errorf("it says %v", err)
	}
	if err := r.joinLedger(t.Context(), everyPack, everySnapshot); !errors.Is(err, ErrNewerFormat) {
		t.Errorf("joined: %v", err)
	}
	if n := len(ledgerObjects(t, r)); n != 2 {
		t.Errorf("%d objects", n)
	}
}

// A clock that was wrong proves nothing, and hides nothing.
func TestLedgerClocks(t *testing.T) {
	now := time.Date(2026, 11, 21, 18, 0, 0, 0, time.UTC)
	defer SetClock(func() time.Time { return now })()
	r := ledgerRepo(t, store.NewMem())
	read := func(n int, at time.Time) {
		t.Helper()
		if _, err := r.record(t.Context(), proof{packs: []format.LedgerPack{{Pack: packNumber(n), Time: at.Unix()}}}); err != nil {
			t.Fatal(err)
		}
	}
	year := 365 * 24 * time.Hour
	read(1, now.Add(-time.Hour))
	read(1, now.Add(year)) // a clock that was a year ahead
	read(2, now.Add(year))
	read(3, now.Add(-time.Hour))
	l := mustLedger(t, r)
	if got := l.pack(packNumber(1)); got != now.Add(-time.Hour).Unix() {
		t.Errorf("pack 1: %d", got)
	}
	if l.pack(packNumber(2)) != 0 {
		t.Error("a time in the future is believed")
	}
	// This clock goes wrong by a year: nothing is believed, and nothing lost,
	// though the ledger is joined meanwhile.
	now = now.Add(-year)
	if mustLedger(t, r).pack(packNumber(3)) != 0 {
		t.Error("a time in the future is believed")
	}
	for i := range ledgerParts + 4 {
		read(10+i, now)
	}
	if err := r.joinLedger(t.Context(), everyPack, everySnapshot); err != nil {
		t.Fatal(err)
	}
	if n := len(ledgerObjects(t, r)); n != 1 {
		t.Errorf("%d objects", n)
	}
	now = now.Add(year)
	if got := mustLedger(t, r).pack(packNumber(3)); got != now.Add(-time.Hour).Unix() {
		t.Errorf("pack 3: %d", got)
	}
}

// What an ingest read back counts, until verify finds damage.
func TestLedgerVerified(t *testing.T) {
	now := time.Date(2026, 11, 21, 18, 0, 0, 0, time.UTC)
	defer SetClock(func() time.Time { return now })()
	r := ledgerRepo(t, store.NewMem())
	id := format.SnapshotID{1, 2, 3}
	s := &Snapshot{ID: id.String(), Time: now.Add(-48 * time.Hour), Info: Info{Verified: "not read back (--no-verify); …"}}
	say := func(at time.Time, sign int64) {
		t.Helper()
		if _, err := r.record(t.Context(), proof{snapshots: []format.LedgerSnapshot{{Snapshot: id, Time: sign * at.Unix()}}}); err != nil {
			t.Fatal(err)
		}
	}
	if got := mustLedger(t, r).Verified(s); !got.IsZero() {
		t.Errorf("never read, verified %v", got)
	}
	s.Info.Verified = new(Session).verified()
	if got := mustLedger(t, r).Verified(s); !got.IsZero() {
		t.Errorf("not read back, verified %v", got)
	}
	for written := range int64(2) {
		by := &Session{options: SessionOptions{Verify: true}}
		by.bytesStored.Store(written)
		s.Info.Verified = by.verified()
		if got := mustLedger(t, r).Verified(s); !got.Equal(s.Time) {
			t.Errorf("by its ingest, which wrote %d bytes: %v", written, got)
		}
	}
	say(now.Add(-2*time.Hour), 1)
	if l := mustLedger(t, r); !l.Verified(s).Equal(now.Add(-2*time.Hour)) || !l.ReadWhole(s).Equal(now.Add(-2*time.Hour)) || !l.Damaged(s).IsZero() {
		t.Errorf("by verify: %v", l.Verified(s))
	}
	say(now.Add(-time.Hour), -1)
	if l := mustLedger(t, r); !l.Verified(s).IsZero() || !l.ReadWhole(s).IsZero() || !l.Damaged(s).Equal(now.Add(-time.Hour)) {
		t.Errorf("damaged, verified %v", l.Verified(s))
	}
	say(now, 1)
	if l := mustLedger(t, r); !l.Verified(s).Equal(now) || !l.Damaged(s).IsZero() {
		t.Errorf("healed: %v", l.Verified(s))
	}
}
