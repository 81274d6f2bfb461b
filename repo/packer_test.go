package repo_test

import (
	"errors"
	"slices"
	"strings"
	"syscall"
	"testing"

	"vaultfs/repo"
	"vaultfs/repo/store"
)

// putAll puts chunks through lanes in turn.
func putAll(t testing.TB, s *repo.Session, lanes []*repo.Lane, chunks [][]byte) error {
	t.Helper()
	for i, c := range chunks {
		if _, err := lanes[i%len(lanes)].Put(t.Context(), c); err != nil {
			return err
		}
	}
	return nil
}

func lanesOf(s *repo.Session, n int) (lanes []*repo.Lane) {
	for range n {
		lanes = append(lanes, s.Lane())
	}
	return lanes
}

func openSession(t testing.TB, r *repo.Repo) *repo.Session {
	t.Helper()
	s, err := r.NewSession(t.Context(), repo.SessionOptions{Source: "disk/a", Kind: "disk", Verify: true})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func packsIn(t testing.TB, st *store.Dir) (names []string) {
	t.Helper()
	for _, name := range objects(t, st) {
		if strings.HasPrefix(name, "packs/") {
			names = append(names, name)
		}
	}
	return names
}

// What several lanes hold in memory becomes one pack; what one of them has begun
// to write takes in what the others hold.
func TestSmallBackupMakesOneDataPack(t *testing.T) {
	defer repo.SmallPacks()()
	for name, sizes := range map[string][]int{
		"all in memory": {5000, 6000, 7000, 1000},
		"one begun":     {3000, 20_000, 3000, 3000, 3000, 20_000, 2000},
	} {
		t.Run(name, func(t *testing.T) {
			st := newStore(t)
			s := openSession(t, newRepo(t, st))
			var chunks [][]byte
			for i, n := range sizes {
				chunks = append(chunks, random(uint64(i), n))
			}
			if err := putAll(t, s, lanesOf(s, 4), chunks); err != nil {
				t.Fatal(err)
			}
			mustCommit(t, s)
			if got := packsIn(t, st); len(got) != 1 {
				t.Errorf("there are packs %v", got)
			}
		})
	}
}

// A disk that fills while packs grow: why is told, the room they took is free
// again, and what was whole before is found by the next session.
func TestDiskFillsWhilePacksGrow(t *testing.T) {
	defer repo.SmallPacks()()
	m := store.NewMem()
	st := memStore(t, m)
	initRepo(t, st)
	r := reopen(t, st)
	defer r.Close()
	m.Limit(used(t, st) + 400_000)
	s := openSession(t, r)
	var chunks [][]byte
	for i := range 40 {
		chunks = append(chunks, random(uint64(i), 20_000))
	}
	if err := putAll(t, s, lanesOf(s, 3), chunks); !errors.Is(err, repo.ErrNoSpace) || !strings.Contains(err.Error(), "vaultfs gc") {
		t.Fatalf("the disk is not full: %v", err)
	}
	if _, err := s.Commit(t.Context(), repo.Info{}); !errors.Is(err, repo.ErrNoSpace) {
		t.Fatalf("commit: %v", err)
	}
	if err := s.Abort(t.Context()); err != nil {
		t.Fatal(err)
	}
	free, total, err := st.Free(t.Context())
	if held := sizeOf(t, st, ""); err != nil || total-free != held {
		t.Errorf("%d bytes are taken, and objects take %d (%v)", total-free, held, err)
	}
	checkExplained(t, st)
	m.Limit(0)
	s = openSession(t, r)
	if err := putAll(t, s, lanesOf(s, 3), chunks); err != nil {
		t.Fatal(err)
	}
	mustCommit(t, s)
	if got := s.Stats(); got.ChunksNew == 0 || got.ChunksNew > 30 {
		t.Errorf("the next session stored %d chunks of %d", got.ChunksNew, got.ChunksTotal)
	}
	mustVerify(t, r)
}

// What the medium gives back differently is found wherever it differs, and the
// pack does not stay.
func TestReadBackFindsWhatDiffers(t *testing.T) {
	defer repo.SmallPacks()()
	flip := func(at func(n int) int) func([]byte) []byte {
		return func(b []byte) []byte {
			b = slices.Clone(b)
			b[at(len(b))] ^= 1
			return b
		}
	}
	for name, change := range map[string]func([]byte) []byte{
		"magic":          flip(func(int) int { return 0 }),
		"salt":           flip(func(int) int { return 40 }),
		"first chunk":    flip(func(int) int { return 100 }),
		"last chunk":     flip(func(n int) int { return n - 2500 }),
		"footer":         flip(func(n int) int { return n - 1300 }),
		"sealed secret":  flip(func(n int) int { return n - 500 }),
		"footer's size":  flip(func(n int) int { return n - 9 }),
		"end":            flip(func(n int) int { return n - 1 }),
		"one byte less":  func(b []byte) []byte { return b[:len(b)-1] },
		"one byte more":  func(b []byte) []byte { return append(slices.Clone(b), 0) },
		"nothing":        func([]byte) []byte { return nil },
		"its first half": func(b []byte) []byte { return b[:len(b)/2] },
	} {
		t.Run(name, func(t *testing.T) {
			m := store.NewMem()
			plain := memStore(t, m)
			initRepo(t, plain)
			st := before(t, m, "open", "packs/", func() { rewrite(t, plain, packsIn(t, plain)[0], change) })
			r := reopen(t, st)
			defer r.Close()
			s := openSession(t, r)
			err := putAll(t, s, lanesOf(s, 1), [][]byte{random(1, 20_000), random(2, 20_000)})
			if err == nil {
				_, err = s.Commit(t.Context(), repo.Info{})
			}
			if !errors.Is(err, repo.ErrDamaged) || !strings.Contains(err.Error(), "the storage did not keep what was written") {
				t.Errorf("reading back tells %v", err)
			}
			if err := s.Abort(t.Context()); err != nil {
				t.Fatal(err)
			}
			if got := packsIn(t, plain); got != nil {
				t.Errorf("packs are left: %v", got)
			}
		})
	}
}

// Whatever operation of a session fails, nothing that has no name is held once it
// is aborted, and the next session stores everything.
func TestFailedSessionHoldsNoRoom(t *testing.T) {
	defer repo.SmallPacks()()
	var chunks [][]byte
	for i := range 7 {
		chunks = append(chunks, random(uint64(i), 20_000))
	}
	m := store.NewMem()
	initRepo(t, memStore(t, m))
	for n := 1; ; n++ {
		m := m.Kill()
		m.Limit(1 << 30)
		st := memStore(t, m)
		r := reopen(t, st)
		s := openSession(t, r)
		at := m.Ops() + n
		m.FailOp(at, syscall.EIO)
		err := putAll(t, s, lanesOf(s, 2), chunks)
		if err == nil {
			_, err = s.Commit(t.Context(), repo.Info{})
		}
		over := m.Ops() < at
		m.FailOp(at, nil)
		if abort := s.Abort(t.Context()); abort != nil && err == nil {
			t.Fatal(abort)
		}
		free, total, _ := st.Free(t.Context())
		if held := sizeOf(t, st, ""); total-free != held {
			t.Errorf("operation %d, %s: %d bytes are taken, and objects take %d", n, m.Trace()[min(at, m.Ops())-1], total-free, held)
		}
		if err != nil {
			s = openSession(t, r)
			if err := putAll(t, s, lanesOf(s, 2), chunks); err != nil {
				t.Fatal(err)
			}
			mustCommit(t, s)
		}
		mustVerify(t, r)
		r.Close()
		if over {
			return
		}
	}
}
