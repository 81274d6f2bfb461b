package repo_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"vaultfs/repo"
	"vaultfs/repo/store"
)

// manyPacks is a repository whose packs nobody has read: of a disk for each of
// the seeds.
func manyPacks(t *testing.T, st *store.Dir, seeds ...uint64) *repo.Repo {
	t.Helper()
	if err := repo.Init(t.Context(), st, repo.InitOptions{Password: []byte("secret"), Cost: cheap}); err != nil {
		t.Fatal(err)
	}
	r := openDamaged(t, st)
	for _, seed := range seeds {
		unreadDisk(t, r, seed)
	}
	return r
}

// unreadDisk commits a disk without reading it back.
func unreadDisk(t *testing.T, r *repo.Repo, seed uint64) *repo.Snapshot {
	t.Helper()
	s, err := r.NewSession(t.Context(), repo.SessionOptions{Source: fmt.Sprint("disk/", seed), Kind: "disk"})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Abort(t.Context())
	size := int64(600 << 10)
	root, err := scattered{size, map[int64][]byte{0: noise(seed, int(size))}}.store(t.Context(), s)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.AddItem(repo.Item{Name: "vda", Kind: repo.ItemDisk, Size: size, Root: root}); err != nil {
		t.Fatal(err)
	}
	snap, err := s.Commit(t.Context(), repo.Info{Program: "test"})
	if err != nil {
		t.Fatal(err)
	}
	return snap
}

func verify(t *testing.T, r *repo.Repo, o repo.VerifyOptions) *repo.VerifyResult {
	t.Helper()
	got, err := r.Verify(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	return got
}

func verifiedTimes(t *testing.T, r *repo.Repo) (times []time.Time) {
	t.Helper()
	l, err := r.Ledger(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range mustSnapshots(t, r) {
		times = append(times, l.Verified(s))
	}
	return times
}

// setClock gives the ledger a clock that the test moves.
func setClock(t *testing.T) *time.Time {
	t.Helper()
	now := time.Date(2026, 11, 21, 18, 0, 0, 0, time.UTC)
	t.Cleanup(repo.SetClock(func() time.Time { return now }))
	return &now
}

// Whatever the share: a turn takes the number of runs that it promises, reads
// each pack, and then the snapshots are proved as of its beginning; not before.
func TestSampleComesRound(t *testing.T) {
	t.Cleanup(repo.SmallPacks())
	for _, share := range []float64{0.07, 0.25, 0.4, 1} {
		t.Run(fmt.Sprint(share), func(t *testing.T) {
			now := setClock(t)
			st := newStore(t)
			r := manyPacks(t, st, 1, 2, 3)
			total := len(repo.ReadTimes(t.Context(), r))
			begin, runs := *now, int(math.Ceil(1/share))
			unread := total
			for run := 0; unread > 0; run++ {
				for i, at := range verifiedTimes(t, r) {
					if !at.IsZero() {
						t.Errorf("before run %d snapshot %d is verified", run, i)
					}
				}
				got := verify(t, openDamaged(t, st), repo.VerifyOptions{Sample: share})
				turn := got.Turn
				if float64(got.Bytes) < share*float64(turn.Packs.Bytes) || turn.Packs.Packs != total || turn.Runs > runs {
					t.Errorf("run %d: %d bytes in %d packs read, of %+v", run, got.Bytes, got.Packs, turn)
				}
				if len(got.Findings) > 0 {
					t.Errorf("run %d: %v", run, got.Findings)
				}
				unread = turn.Unread.Packs
				if unread > 0 && !turn.Oldest.Equal(begin) {
					t.Errorf("run %d: the oldest was read at %v", run, turn.Oldest)
				}
				if run == runs-1 && unread > 0 {
					t.Errorf("after %d runs %d packs are unread", runs, unread)
				}
				*now = now.Add(time.Hour)
			}
			for name, at := range repo.ReadTimes(t.Context(), r) {
				if at == 0 {
					t.Errorf("%s is unread", name)
				}
			}
			for i, at := range verifiedTimes(t, r) {
				// The last run may have gone on with the next turn.
				if at.Before(begin) || !at.Before(*now) {
					t.Errorf("snapshot %d is verified as of %v, the turn was from %v to %v", i, at, begin, *now)
				}
			}
		})
	}
}

// What was not read for longest comes first; what never was, before all.
func TestTurnOrder(t *testing.T) {
	t.Cleanup(repo.SmallPacks())
	now := setClock(t)
	r := manyPacks(t, newStore(t), 1, 2)
	verify(t, r, repo.VerifyOptions{ReadData: true})
	first := repo.ReadTimes(t.Context(), r)
	*now = now.Add(24 * time.Hour)
	unreadDisk(t, r, 3)
	fresh := len(repo.ReadTimes(t.Context(), r)) - len(first)
	for n := range fresh + 3 {
		*now = now.Add(time.Minute)
		if got := verify(t, r, repo.VerifyOptions{For: 1}); got.Packs != 1 {
			t.Fatalf("%d packs read", got.Packs)
		}
		for name, at := range repo.ReadTimes(t.Context(), r) {
			if _, old := first[name]; at == now.Unix() && old != (n >= fresh) {
				t.Errorf("run %d has read %s", n, name)
			}
		}
	}
	// A run over all packs sets all to the same time: then chance decides.
	verify(t, r, repo.VerifyOptions{ReadData: true})
	seen := map[string]bool{}
	for range 8 {
		*now = now.Add(time.Minute)
		verify(t, r, repo.VerifyOptions{For: 1})
		for name, at := range repo.ReadTimes(t.Context(), r) {
			if at == now.Unix() {
				seen[name] = true
			}
		}
	}
	if len(seen) != 8 {
		t.Errorf("8 runs read %d packs", len(seen))
	}
}

// A run that is interrupted has recorded what it read.
func TestTurnInterrupted(t *testing.T) {
	t.Cleanup(repo.SmallPacks())
	r := manyPacks(t, newStore(t), 1, 2)
	ctx, cancel := context.WithCancel(t.Context())
	n := 0
	_, err := r.Verify(ctx, repo.VerifyOptions{ReadData: true, Progress: func(done, total int64) {
		if n++; n == 5 {
			cancel()
		}
	}})
	if !errors.Is(err, context.Canceled) {
		t.Fatalf("it ended with %v", err)
	}
	read := 0
	for _, at := range repo.ReadTimes(t.Context(), r) {
		if at > 0 {
			read++
		}
	}
	if read < 5 {
		t.Errorf("%d packs are recorded, 5 were read", read)
	}
}

// A run that is killed at any moment has recorded what it read up to the last
// time it did, and the next one goes on from there.
func TestTurnKilled(t *testing.T) {
	t.Cleanup(repo.SmallPacks())
	t.Cleanup(repo.RecordOften())
	base := store.NewMem()
	manyPacks(t, memStore(t, base), 1)
	for n := 3; ; n += 7 {
		m := base.Kill()
		r := openDamaged(t, memStore(t, m))
		done := 0
		at := m.Ops() + n
		m.CrashAt(at)
		_, err := r.Verify(t.Context(), repo.VerifyOptions{ReadData: true, Progress: func(int64, int64) { done++ }})
		r = openDamaged(t, memStore(t, m.Kill()))
		read := 0
		for _, at := range repo.ReadTimes(t.Context(), r) {
			if at > 0 {
				read++
			}
		}
		got := verify(t, r, repo.VerifyOptions{For: 1})
		if m.Ops() < at {
			if err != nil || read != len(repo.ReadTimes(t.Context(), r)) {
				t.Errorf("a whole run has recorded %d packs (%v)", read, err)
			}
			return
		}
		if got.Turn.Unread.Packs != got.Turn.Packs.Packs-min(read+1, got.Turn.Packs.Packs) {
			t.Errorf("killed at operation %d: %d packs were recorded, then %d of %d are unread", n, read, got.Turn.Unread.Packs, got.Turn.Packs.Packs)
		}
		if len(got.Findings) > 0 {
			t.Errorf("killed at operation %d: %v", n, got.Findings)
		}
	}
}

// Two at once do no harm to each other.
func TestTwoVerify(t *testing.T) {
	t.Cleanup(repo.SmallPacks())
	t.Cleanup(repo.RecordOften())
	m := store.NewMem()
	r := manyPacks(t, memStore(t, m), 1, 2)
	var both sync.WaitGroup
	for range 2 {
		one := openDamaged(t, memStore(t, m))
		both.Go(func() {
			for range 4 {
				got, err := one.Verify(context.Background(), repo.VerifyOptions{Sample: 0.5})
				if err != nil || len(got.Findings) > 0 {
					t.Errorf("%v, %v", got, err)
				}
			}
		})
	}
	both.Wait()
	for name, at := range repo.ReadTimes(t.Context(), r) {
		if at == 0 {
			t.Errorf("%s is unread", name)
		}
	}
}

// A store that cannot be written to is verified all the same.
func TestVerifyCannotRecord(t *testing.T) {
	m := store.NewMem()
	st := memStore(t, m)
	manyPacks(t, st, 1)
	var warnings []string
	r, err := tryOpen(memStore(t, m), func(s string) { warnings = append(warnings, s) })
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	for n := 1; n < 30; n++ {
		m.FailOp(m.Ops()+n, store.ErrFull)
	}
	got, err := r.Verify(t.Context(), repo.VerifyOptions{ReadData: true})
	if err != nil || len(got.Findings) > 0 {
		t.Fatalf("%v, %v", got, err)
	}
	if !slices.ContainsFunc(warnings, func(s string) bool { return strings.Contains(s, "what this one has read") }) {
		t.Errorf("it is not told: %q", warnings)
	}
}

// What was read when it was written is not read first; damage in a snapshot
// takes the proof from it, until it is healed.
func TestLedgerOfDamage(t *testing.T) {
	now := setClock(t)
	st := newStore(t)
	if err := repo.Init(t.Context(), st, repo.InitOptions{Password: []byte("secret"), Cost: cheap}); err != nil {
		t.Fatal(err)
	}
	r := openDamaged(t, st)
	disk := noise(7, 2<<20)
	s := ingestDisk(t, r, "disk/a", disk)
	*now = now.Add(time.Minute)
	other := ingestDisk(t, r, "disk/b", noise(8, 1<<20))
	if times := verifiedTimes(t, r); !times[0].Equal(s.Time) || !times[1].Equal(other.Time) {
		t.Errorf("after the ingest: %v", times)
	}
	if got := verify(t, r, repo.VerifyOptions{For: 1}); got.Turn.Unread.Packs != 0 || got.Turn.Packs.Packs != 4 {
		t.Errorf("%+v", got.Turn)
	}
	name := dataPack(t, st, s.ID)
	good := spoil(t, st, name)
	*now = now.Add(time.Hour)
	got := verify(t, r, repo.VerifyOptions{ReadData: true})
	if len(got.Findings) != 1 || len(got.Findings[0].Touches) != 1 || got.Findings[0].Unneeded {
		t.Fatalf("%+v", got.Findings)
	}
	if at := repo.ReadTimes(t.Context(), r)[name]; at != -now.Unix() {
		t.Errorf("the ledger says %d of the damaged pack", at)
	}
	if times := verifiedTimes(t, r); !times[0].IsZero() || !times[1].Equal(time.Unix(now.Unix(), 0)) {
		t.Errorf("after the damage: %v", times)
	}
	// Within the same second it is whole again.
	if err := st.Delete(t.Context(), name); err != nil {
		t.Fatal(err)
	}
	if err := st.Put(t.Context(), name, good); err != nil {
		t.Fatal(err)
	}
	if got := verify(t, r, repo.VerifyOptions{ReadData: true}); len(got.Findings) > 0 {
		t.Fatalf("%+v", got.Findings)
	}
	if times := verifiedTimes(t, r); times[0].IsZero() {
		t.Errorf("after it was put right: %v", times)
	}
}

// Known damage in a pack that is not read in a run is told all the same, and
// the exit with it.
func TestSampleTellsKnownDamage(t *testing.T) {
	now := setClock(t)
	st := newStore(t)
	r := manyPacks(t, st, 1, 2)
	first := mustSnapshots(t, r)[0]
	spoil(t, st, dataPack(t, st, first.ID))
	if got := verify(t, r, repo.VerifyOptions{ReadData: true}); len(got.Findings) != 1 {
		t.Fatalf("%+v", got.Findings)
	}
	*now = now.Add(time.Hour)
	for range 6 {
		if got := verify(t, r, repo.VerifyOptions{For: 1}); len(got.Findings) != 1 || got.Findings[0].Unneeded {
			t.Errorf("%+v", got.Findings)
		}
		if times := verifiedTimes(t, r); !times[0].IsZero() {
			t.Errorf("verified: %v", times)
		}
	}
}

// Damage in what no snapshot needs is said to be just that.
func TestDamageThatNobodyNeeds(t *testing.T) {
	st := newStore(t)
	r := manyPacks(t, st, 1, 2)
	first := mustSnapshots(t, r)[0]
	name := dataPack(t, st, first.ID)
	spoil(t, st, name)
	if err := r.Forget(t.Context(), repo.ForgotByName, first); err != nil {
		t.Fatal(err)
	}
	got := verify(t, r, repo.VerifyOptions{ReadData: true})
	if len(got.Findings) != 1 || !got.Findings[0].Unneeded || got.Snapshots != 1 {
		t.Errorf("%+v", got)
	}
	if err := st.Delete(t.Context(), name); err != nil {
		t.Fatal(err)
	}
	for _, o := range []repo.VerifyOptions{{}, {ReadData: true}} {
		if got := verify(t, r, o); len(got.Findings) != 1 || !got.Findings[0].Unneeded {
			t.Errorf("%+v", got.Findings)
		}
	}
}

// A pack that a collector removes while verify is at work is no damage.
func TestPackRemovedMeanwhile(t *testing.T) {
	t.Cleanup(repo.SmallPacks())
	st := newStore(t)
	r := manyPacks(t, st, 1, 2)
	first := mustSnapshots(t, r)[0]
	if err := r.Forget(t.Context(), repo.ForgotByName, first); err != nil {
		t.Fatal(err)
	}
	collector := openDamaged(t, st)
	var once sync.Once
	got := verify(t, r, repo.VerifyOptions{ReadData: true, Progress: func(int64, int64) {
		once.Do(func() {
			for _, name := range packs(t, st) {
				if strings.HasPrefix(name, "packs/"+first.ID) {
					if err := repo.RemovePack(t.Context(), collector, name); err != nil {
						t.Error(err)
					}
				}
			}
		})
	}})
	if len(got.Findings) > 0 {
		t.Errorf("%+v", got.Findings)
	}
	if got := verify(t, r, repo.VerifyOptions{ReadData: true}); len(got.Findings) > 0 || got.Turn.Packs.Packs != got.Packs {
		t.Errorf("%+v", got)
	}
}

// dataPack is a data pack of a session.
func dataPack(t *testing.T, st *store.Dir, session string) string {
	t.Helper()
	for _, name := range packs(t, st) {
		var kind [1]byte
		if _, err := st.ReadAt(t.Context(), name, kind[:], 8); err != nil && err != io.EOF {
			t.Fatal(err)
		}
		if kind[0] == 1 && strings.HasPrefix(name, "packs/"+session) {
			return name
		}
	}
	t.Fatal("the session has no data pack")
	return ""
}

// spoil flips a bit in a chunk of a pack, and returns what the pack was.
func spoil(t *testing.T, st *store.Dir, name string) (good []byte) {
	t.Helper()
	good, err := st.Get(t.Context(), name, 1<<30)
	if err != nil {
		t.Fatal(err)
	}
	if err := st.Delete(t.Context(), name); err != nil {
		t.Fatal(err)
	}
	if err := st.Put(t.Context(), name, flipped(good, 200, 3)); err != nil {
		t.Fatal(err)
	}
	return good
}
