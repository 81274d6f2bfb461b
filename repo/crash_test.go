package repo_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"syscall"
	"testing"

	"vaultfs/repo"
	"vaultfs/repo/store"
)

// eachCrash runs act on copies of a disk, which crash at one operation after
// the other, and check on what may be there afterwards: after the processes
// were killed, and after the power failed in two ways. One of the three, in
// turn, is to be checked thoroughly.
func eachCrash(t *testing.T, base *store.Mem, act func(*store.Dir) error, check func(t *testing.T, st *store.Dir, thoroughly bool)) {
	t.Helper()
	inParts(t, func(t *testing.T, n int) (more bool) {
		m := base.Kill()
		m.CrashAt(n)
		err := act(memStore(t, m))
		over := m.Ops() < n
		if over && err != nil {
			t.Fatalf("without a crash: %v", err)
		}
		rng := rand.New(rand.NewPCG(1, uint64(n)))
		for i, disk := range []*store.Mem{m.Kill(), m.Crash(rng), m.Crash(rng)} {
			check(t, memStore(t, disk), n%3 == i)
			if t.Failed() {
				trace := m.Trace()
				t.Fatalf("crashed at operation %d of %v, outcome %d: %v", n, trace[max(0, len(trace)-4):], i, err)
			}
		}
		return !over
	})
}

// inParts calls fn with 1, 2, … as long as it wants more, in two parts at once.
func inParts(t *testing.T, fn func(t *testing.T, n int) (more bool)) {
	for part := 1; part <= 2; part++ {
		t.Run(fmt.Sprint("part ", part), func(t *testing.T) {
			t.Parallel()
			n := part
			for fn(t, n) {
				n += 2
			}
			t.Logf("up to number %d", n)
		})
	}
}

// A base is a repository with one snapshot, on a disk in memory.
type base struct {
	mem    *store.Mem
	first  backup
	second backup
	full   *repo.Snapshot // the second, made without a crash
	chunks int64          // that the repository lists before the second
}

func newBase(t *testing.T) base {
	t.Helper()
	t.Cleanup(repo.SmallPacks())
	m := store.NewMem()
	st := memStore(t, m)
	initRepo(t, st)
	b := base{mem: m, first: newBackup("vm/a", 10)}
	b.second = b.first.changed(20)
	r := reopen(t, st)
	defer r.Close()
	mustIngest(t, r, b.first)
	b.chunks = mustVerify(t, r).Chunks
	b.mem = m.Kill()
	b.full = mustIngest(t, r, b.second)
	return b
}

// checkAfter opens what is left and proves all snapshots. If it is to be
// thorough, it ingests the second backup again and proves that what had been
// listed was used.
func (b base) checkAfter(t *testing.T, st *store.Dir, thoroughly bool) {
	t.Helper()
	r := reopen(t, st)
	defer r.Close()
	had := mustVerify(t, r)
	all := mustSnapshots(t, r)
	if len(all) < 1 || len(all) > 2 {
		t.Fatalf("%d snapshots", len(all))
	}
	b.first.mustRead(t, r, all[0])
	if len(all) == 2 {
		b.second.mustRead(t, r, all[1])
	}
	if !thoroughly {
		return
	}
	again := mustIngest(t, r, b.second)
	if want := uint64(len(all) + 1); again.Seq != want {
		t.Errorf("the rerun is number %d, want %d", again.Seq, want)
	}
	b.second.mustRead(t, r, again)
	// Three maps, a page, a root and two stream nodes may be among them.
	listed := had.Chunks - b.chunks - 7
	if most := b.full.Info.Summary.ChunksNew - max(0, listed); again.Info.Summary.ChunksNew > most {
		t.Errorf("the rerun stored %d chunks, want at most %d: %d were listed", again.Info.Summary.ChunksNew, most, listed)
	}
	mustVerify(t, r)
	checkExplained(t, st)
}

func TestCrashAtEveryStepOfAnIngest(t *testing.T) {
	b := newBase(t)
	eachCrash(t, b.mem, func(st *store.Dir) error {
		r, err := tryOpen(st, nil)
		if err != nil {
			return err
		}
		defer r.Close()
		_, err = b.second.ingest(context.Background(), r)
		return err
	}, b.checkAfter)
}

// incrementSecond makes an increment of the second backup from the snapshot of
// the first.
func (b base) incrementSecond(r *repo.Repo) error {
	all, err := r.Snapshots(context.Background())
	if err != nil {
		return err
	}
	_, full, err := b.second.increment(context.Background(), r, all[0], b.first)
	return errors.Join(full, err)
}

// checkIncrements is checkAfter, and makes an increment from the first and
// from the last snapshot that is there.
func (b base) checkIncrements(t *testing.T, st *store.Dir, thoroughly bool) {
	t.Helper()
	b.checkAfter(t, st, thoroughly)
	if !thoroughly {
		return
	}
	r := reopen(t, st)
	defer r.Close()
	third := b.second.with(50<<20, random(90, 5000))
	third.source = "vm/other"
	all := mustSnapshots(t, r)
	for s, was := range map[*repo.Snapshot]backup{all[0]: b.first, all[len(all)-1]: b.second} {
		snap, full, err := third.increment(t.Context(), r, s, was)
		if err != nil || full != nil {
			t.Fatalf("an increment from snapshot %d: %v, %v", s.Seq, full, err)
		}
		third.mustRead(t, r, snap)
	}
}

func TestCrashAtEveryStepOfAnIncrement(t *testing.T) {
	b := newBase(t)
	eachCrash(t, b.mem, func(st *store.Dir) error {
		r, err := tryOpen(st, nil)
		if err != nil {
			return err
		}
		defer r.Close()
		return b.incrementSecond(r)
	}, b.checkIncrements)
}

// Two sessions are at work when the disk crashes.
func TestCrashOfTwoSessions(t *testing.T) {
	b := newBase(t)
	other := newBackup("vm/b", 10) // it shares much with the first
	for n := 5; n < 200; n += 19 {
		m := b.mem.Kill()
		m.CrashAt(n)
		done := make(chan error, 2)
		for _, what := range []backup{b.second, other} {
			go func() {
				st, err := m.Store()
				if err == nil {
					var r *repo.Repo
					if r, err = tryOpen(st, nil); err == nil {
						defer r.Close()
						_, err = what.ingest(context.Background(), r)
					}
				}
				done <- err
			}()
		}
		<-done
		<-done
		for i, disk := range []*store.Mem{m.Kill(), m.Crash(rand.New(rand.NewPCG(2, uint64(n))))} {
			st := memStore(t, disk)
			r := reopen(t, st)
			mustVerify(t, r)
			for _, s := range mustSnapshots(t, r) {
				if s.Source == "vm/b" {
					other.mustRead(t, r, s)
				}
			}
			other.mustRead(t, r, mustIngest(t, r, other))
			mustVerify(t, r)
			checkExplained(t, st)
			r.Close()
			if t.Failed() {
				t.Fatalf("crashed at operation %d, outcome %d", n, i)
			}
		}
	}
}

// After a crash of init there is a repository, or the way to one is clear.
func TestCrashOfInit(t *testing.T) {
	init := func(st *store.Dir) error {
		return repo.Init(context.Background(), st, repo.InitOptions{Password: []byte("secret"), Cost: cheap})
	}
	eachCrash(t, store.NewMem(), init, func(t *testing.T, st *store.Dir, _ bool) {
		err := init(st)
		if err != nil && !errors.Is(err, repo.ErrExists) {
			t.Errorf("init again: %v", err)
		}
		r := reopen(t, st)
		defer r.Close()
		mustVerify(t, r)
		checkExplained(t, st)
	})
}

func TestCrashOfKeyCommands(t *testing.T) {
	b := newBase(t)
	passwords := []string{"secret", "another"}
	opens := func(t *testing.T, st *store.Dir) (n int) {
		for _, p := range passwords {
			r, err := repo.Open(context.Background(), st, repo.OpenOptions{Password: []byte(p)})
			if err == nil {
				n++
				mustVerify(t, r)
				r.Close()
			} else if !errors.Is(err, repo.ErrWrongPassword) {
				t.Errorf("password %s: %v", p, err)
			}
		}
		return n
	}
	for name, act := range map[string]func(*repo.Repo) error{
		"add": func(r *repo.Repo) error { _, err := r.AddKey(context.Background(), []byte("another"), "x"); return err },
		"passwd": func(r *repo.Repo) error {
			_, err := r.ChangePassword(context.Background(), []byte("another"), "x")
			return err
		},
		"remove": func(r *repo.Repo) error {
			id, err := r.AddKey(context.Background(), []byte("another"), "x")
			if err == nil {
				_, err = r.RemoveKey(context.Background(), id)
			}
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			eachCrash(t, b.mem, func(st *store.Dir) error {
				r, err := tryOpen(st, nil)
				if err != nil {
					return err
				}
				defer r.Close()
				return act(r)
			}, func(t *testing.T, st *store.Dir, _ bool) {
				if opens(t, st) == 0 {
					t.Error("no password opens the repository")
				}
			})
		})
	}
}

func TestCrashOfRebuildIndex(t *testing.T) {
	b := newBase(t)
	eachCrash(t, b.mem, func(st *store.Dir) error {
		r, err := tryOpen(st, nil)
		if err != nil {
			return err
		}
		defer r.Close()
		return r.RebuildIndex(context.Background())
	}, b.checkAfter)
}

// eachFailure runs act on copies of a disk on which one operation after the
// other fails, and check on what is there then.
func eachFailure(t *testing.T, base *store.Mem, failure error, act func(*repo.Repo) error, check func(t *testing.T, st *store.Dir, r *repo.Repo, err error, thoroughly bool)) {
	t.Helper()
	inParts(t, func(t *testing.T, n int) (more bool) {
		m := base.Kill()
		st := memStore(t, m)
		m.FailOp(n, failure)
		r := reopen(t, st)
		defer r.Close()
		err := act(r)
		over := m.Ops() < n
		if over && err != nil {
			t.Fatalf("without a failure: %v", err)
		}
		m.FailOp(n, nil)
		check(t, st, r, err, n%4 < 2)
		if t.Failed() {
			t.Fatalf("operation %d, %s: %v", n, m.Trace()[min(n, m.Ops())-1], err)
		}
		return !over
	})
}

func TestFailureOfEveryStepOfAnIngest(t *testing.T) {
	b := newBase(t)
	for _, failure := range []error{syscall.ENOSPC, syscall.EIO} {
		for what, act := range map[string]func(*repo.Repo) error{
			"all":       func(r *repo.Repo) error { _, err := b.second.ingest(context.Background(), r); return err },
			"increment": b.incrementSecond,
		} {
			t.Run(fmt.Sprintf("%s %v", what, failure), func(t *testing.T) {
				eachFailure(t, b.mem, failure, act, func(t *testing.T, st *store.Dir, r *repo.Repo, err error, thoroughly bool) {
					want := 2
					if err != nil {
						want = 1
						if !errors.Is(err, failure) || errors.Is(err, repo.ErrNoSpace) != (failure == syscall.ENOSPC) {
							t.Errorf("the error does not tell why: %v", err)
						}
					}
					if n := len(mustSnapshots(t, r)); n != want {
						t.Errorf("%d snapshots, want %d", n, want)
					}
					b.checkAfter(t, st, thoroughly)
				})
			})
		}
	}
}
