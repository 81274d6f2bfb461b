package repo_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"testing"
	"time"

	"vaultfs/repo"
	"vaultfs/repo/store"
)

func mustStatus(t *testing.T, r *repo.Repo, now time.Time) *repo.Status {
	t.Helper()
	st, err := r.Status(t.Context(), repo.StatusOptions{Now: now})
	if err != nil {
		t.Fatal(err)
	}
	return st
}

// diskAt commits a disk as of a time.
func diskAt(t *testing.T, r *repo.Repo, source string, disk []byte, at time.Time) *repo.Snapshot {
	t.Helper()
	s, err := r.NewSession(t.Context(), repo.SessionOptions{Source: source, Kind: "disk", Verify: true, Time: at})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Abort(t.Context())
	root, err := scattered{int64(len(disk)), map[int64][]byte{0: disk}}.store(t.Context(), s)
	if err == nil {
		err = s.AddItem(repo.Item{Name: "vda", Kind: repo.ItemDisk, Size: int64(len(disk)), Root: root})
	}
	if err != nil {
		t.Fatal(err)
	}
	snap, err := s.Commit(t.Context(), repo.Info{Program: "test"})
	if err != nil {
		t.Fatal(err)
	}
	return snap
}

// total is what all files of a store have.
func total(t *testing.T, st *store.Dir) (n int64) {
	t.Helper()
	if err := st.List(t.Context(), "", func(i store.Info) error { n += i.Size; return nil }); err != nil {
		t.Fatal(err)
	}
	return n
}

func TestStatusOfEmptyRepository(t *testing.T) {
	store := newStore(t)
	r := newRepo(t, store)
	st := mustStatus(t, r, time.Now())
	if st.Snapshots != 0 || len(st.Sources) != 0 || st.Logical != 0 || *st.Sums != (repo.ChunkSums{}) || st.Total != total(t, store) ||
		len(st.Problems) != 0 || st.Reading.Limit != 45*24*time.Hour || !st.Reading.Oldest.IsZero() {
		t.Errorf("%+v", st)
	}
}

// Numbers are those that can be counted otherwise.
func TestStatusOfHealthyRepository(t *testing.T) {
	now := setClock(t)
	*now = time.Now()
	store := newStore(t)
	r := newRepo(t, store)
	disk := noise(1, 3<<20)
	first := ingestDisk(t, r, "disk/a", disk)
	ingestDisk(t, r, "disk/a", disk)
	other := ingestDisk(t, r, "disk/b", append(slices.Clone(disk), make([]byte, 1<<20)...))
	st := mustStatus(t, r, *now)
	if st.Snapshots != 3 || len(st.Sources) != 2 || st.Logical != 10<<20 || st.Total != total(t, store) || st.Packs.Packs != len(packs(t, store)) {
		t.Errorf("%+v", st)
	}
	a, b := st.Sources[0], st.Sources[1]
	if a.Source != "disk/a" || a.Snapshots != 2 || a.Newest.Seq != 2 || a.Size != 3<<20 || a.Late || a.Usual != 0 || a.Unread ||
		a.Stored != first.Info.Summary.BytesStored {
		t.Errorf("%+v", a)
	}
	if !a.Verified.Equal(a.Newest.Time) || b.Size != 4<<20 || !b.Verified.Equal(other.Time) || !b.ReadWhole.IsZero() {
		t.Errorf("%+v, %+v", a, b)
	}
	// All the disk's noise is there once, and structure is little.
	if s := st.Sums; s.Unique < 5<<19 || s.Unique > 3<<20+64<<10 || s.Stored < 5<<19 || s.Stored > st.Packs.Bytes || s.Chunks == 0 {
		t.Errorf("%+v of %+v", s, st.Packs)
	}
	if st.Reading.Never.Packs != 0 || st.Reading.Overdue.Packs != 0 || st.Reading.Oldest.Unix() != first.Time.Unix() {
		t.Errorf("%+v", st.Reading)
	}
	*now = now.Add(time.Hour)
	mustVerify(t, r)
	st = mustStatus(t, r, *now)
	for _, s := range st.Sources {
		if s.Verified.Unix() != now.Unix() || !s.ReadWhole.Equal(s.Verified) {
			t.Errorf("%+v", s)
		}
	}
	if st.Reading.Oldest.Unix() != now.Unix() || len(st.Damaged)+len(st.Missing)+len(st.Problems)+len(st.Sessions) != 0 || st.Unlisted.Packs != 0 {
		t.Errorf("%+v", st)
	}
	quick, err := r.Status(t.Context(), repo.StatusOptions{NoSums: true})
	if err != nil || quick.Sums != nil || quick.Total != st.Total {
		t.Errorf("%+v, %v", quick, err)
	}
}

// A source has its own rhythm; a clock that was wrong does not hide that a
// backup is overdue.
func TestStatusOfNeglectedRepository(t *testing.T) {
	now := setClock(t)
	*now = time.Date(2026, 11, 21, 18, 0, 0, 0, time.UTC)
	r := newRepo(t, newStore(t))
	const day = 24 * time.Hour
	ages := map[string][]time.Duration{
		"disk/daily":   {7 * day, 6 * day, 5 * day, 4 * day},             // late
		"disk/weekly":  {33 * day, 26 * day, 19 * day, 12 * day},         // not yet
		"disk/hourly":  {30 * time.Hour, 29 * time.Hour, 28 * time.Hour}, // it rests
		"disk/once":    {300 * day},                                      // has no rhythm
		"disk/clock":   {7 * day, 6 * day, 5 * day, -365 * day},          // late, though the newest is from the future
		"disk/archive": {900 * day, 930 * day, 870 * day, 1 * day},       // imported in any order
	}
	// The first one stores what all of them hold, and its packs are of its times.
	for _, source := range slices.Backward(slices.Sorted(maps.Keys(ages))) {
		for i, age := range ages[source] {
			diskAt(t, r, source, noise(uint64(i+10), 64<<10), now.Add(-age))
		}
	}
	st := mustStatus(t, r, *now)
	for _, s := range st.Sources {
		if want := s.Source == "disk/daily" || s.Source == "disk/clock"; s.Late != want {
			t.Errorf("%s: late %v, age %v, usual %v", s.Source, s.Late, s.Age, s.Usual)
		}
		if (len(s.Future) == 1) != (s.Source == "disk/clock") {
			t.Errorf("%s: %d from the future", s.Source, len(s.Future))
		}
		if want := s.Source == "disk/once"; s.Unread != want && s.Source != "disk/clock" {
			t.Errorf("%s: unread %v, verified %v", s.Source, s.Unread, s.Verified)
		}
	}
	// What the policy says of age comes before the rhythm.
	rules := repo.DefaultPolicy()
	rules = append(rules, repo.PolicyRule{For: "disk/weekly", Last: 1, MaxAge: int64(10 * day / time.Second)})
	rules = append(rules, repo.PolicyRule{For: "disk/daily", Last: 1, MaxAge: int64(10 * day / time.Second)})
	if err := r.SetPolicy(t.Context(), rules); err != nil {
		t.Fatal(err)
	}
	for _, s := range mustStatus(t, r, *now).Sources {
		if s.Source == "disk/weekly" && (!s.Late || s.MaxAge != 10*day) || s.Source == "disk/daily" && s.Late {
			t.Errorf("%+v", s)
		}
	}
	// Half a year without verify.
	mustVerify(t, r)
	*now = now.Add(180 * day)
	st = mustStatus(t, r, *now)
	if st.Reading.Overdue != st.Packs || st.Reading.Never.Packs != 0 {
		t.Errorf("%+v of %+v", st.Reading, st.Packs)
	}
	// The clock goes back by two years: nothing is known to have been read.
	*now = now.Add(-730 * day)
	if st = mustStatus(t, r, *now); st.Reading.Future != st.Packs.Packs || st.Reading.Never != st.Packs {
		t.Errorf("%+v of %+v", st.Reading, st.Packs)
	}
	*now = time.Now().Add(time.Hour) // for the verify at the end
}

// Every known damage is told, and what cannot be read hides nothing else.
func TestStatusOfDamagedRepository(t *testing.T) {
	st := newStore(t)
	r := manyPacks(t, st, 1, 2, 3)
	all := mustSnapshots(t, r)
	hurt, lost, torn := all[0], dataPack(t, st, all[1].ID), all[2]
	spoil(t, st, dataPack(t, st, hurt.ID))
	verify(t, r, repo.VerifyOptions{ReadData: true})
	if err := st.Delete(t.Context(), lost); err != nil {
		t.Fatal(err)
	}
	object := "snapshots/" + torn.ID
	b, err := st.Get(t.Context(), object, 1<<30)
	if err == nil {
		err = st.Delete(t.Context(), object)
	}
	if err == nil {
		err = st.Put(t.Context(), object, b[:len(b)/2])
	}
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range objects(t, st) {
		if len(name) > 7 && name[:7] == "ledger/" {
			if err := st.Put(t.Context(), "ledger/"+fmt.Sprintf("%032x", 7), []byte("garbage")); err != nil {
				t.Fatal(err)
			}
			break
		}
	}
	got := mustStatus(t, openDamaged(t, st), time.Now())
	if len(got.Damaged) != 1 || len(got.Missing) != 1 || len(got.Problems) != 2 || got.Snapshots != 2 {
		t.Errorf("%+v", got)
	}
	for _, err := range got.Problems {
		if !errors.Is(err, repo.ErrDamaged) {
			t.Error(err)
		}
	}
	for _, s := range got.Sources {
		if want := s.Source == hurt.Source; (len(s.Lost) == 1) != want || s.Verified.IsZero() != want {
			t.Errorf("%s: lost %v, verified %v", s.Source, s.Lost, s.Verified)
		}
	}
}

// What waits is told with the one for whom it waits; what somebody is writing is
// not left over.
func TestStatusOfWaitingSpace(t *testing.T) {
	t.Cleanup(repo.SmallPacks())
	m := store.NewMem()
	st := memStore(t, m)
	r := manyPacks(t, st, 1, 2)
	all := mustSnapshots(t, r)
	before := mustStatus(t, r, time.Now())
	if err := r.Forget(t.Context(), repo.ForgotByName, all[0]); err != nil {
		t.Fatal(err)
	}
	got := mustStatus(t, r, time.Now())
	if f := got.Forgotten; f.Snapshots != 1 || f.Added != all[0].Info.Summary.BytesStored || f.Oldest.IsZero() || got.Snapshots != 1 || got.Packs != before.Packs {
		t.Errorf("%+v", got)
	}
	writer, err := openDamaged(t, st).NewSession(t.Context(), repo.SessionOptions{Source: "disk/slow", Kind: "disk"})
	if err != nil {
		t.Fatal(err)
	}
	defer writer.Abort(context.Background())
	if _, err := writer.Lane().Put(t.Context(), random(9, 64<<10)); err != nil {
		t.Fatal(err)
	}
	if _, err := openDamaged(t, st).GC(t.Context(), repo.GCOptions{MaxUnused: repo.DefaultMaxUnused, MaxRewrite: -1}); err != nil {
		t.Fatal(err)
	}
	got = mustStatus(t, r, time.Now())
	if got.Condemned.Packs == 0 || len(got.CondemnedFor) != 1 || got.CondemnedFor[0].Purpose != "ingest disk/slow" || got.Unlisted.Packs != 0 {
		t.Errorf("condemned %+v for %+v, unlisted %+v", got.Condemned, got.CondemnedFor, got.Unlisted)
	}
	if err := writer.Abort(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got = mustStatus(t, r, time.Now()); got.Condemned.Packs == 0 || len(got.CondemnedFor) != 0 {
		t.Errorf("condemned %+v for %+v", got.Condemned, got.CondemnedFor)
	}
	if _, err := openDamaged(t, st).GC(t.Context(), repo.GCOptions{MaxUnused: repo.DefaultMaxUnused, MaxRewrite: -1}); err != nil {
		t.Fatal(err)
	}
	got = mustStatus(t, r, time.Now())
	if got.Condemned.Packs != 0 || got.Unlisted.Packs != 0 || got.Forgotten.Snapshots != 0 || got.Packs.Packs >= before.Packs.Packs || got.Total != total(t, st) {
		t.Errorf("%+v", got)
	}
	// A process that dies leaves files that nobody lists.
	if err := st.Put(t.Context(), "packs/"+fmt.Sprintf("%032x/%064x", 5, 6), make([]byte, 1000)); err != nil {
		t.Fatal(err)
	}
	if got = mustStatus(t, r, time.Now()); got.Unlisted != (repo.PackCount{Packs: 1, Bytes: 1000}) {
		t.Errorf("%+v", got.Unlisted)
	}
}
