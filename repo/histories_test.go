package repo

import (
	"fmt"
	"math/rand/v2"
	"os"
	"runtime"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/cryptotest"
	"time"

	"vaultfs/repo/seal"
	"vaultfs/repo/store"
)

// The environment variables say how many histories are run, and from which on:
// the seed of a history is its number.
const (
	historiesEnv = "VAULTFS_HISTORIES"
	historyEnv   = "VAULTFS_HISTORY"
)

const defaultHistories = 60

// TestHistories runs random histories of processes that write, forget, collect,
// read and verify in one repository, over a disk that can crash. Operations of
// the disk are interleaved one by one; processes sleep, are killed, lose their
// leases and go on, and the power fails. At every moment what is committed must
// be whole, and when everything is quiet and a last collection has run, every
// object must have its reason.
func TestHistories(t *testing.T) {
	n, first := number(t, historiesEnv, defaultHistories), number(t, historyEnv, 1)
	if os.Getenv(historyEnv) != "" && os.Getenv(historiesEnv) == "" {
		n = 1
	}
	base, keys := emptyRepository(t)
	defer quickly()()
	begin, steps := time.Now(), 0
	for seed := first; seed < first+n; seed++ {
		t.Run(strconv.Itoa(seed), func(t *testing.T) { steps += runHistory(t, base, keys, uint64(seed)) })
		if t.Failed() {
			t.Fatalf("history %d failed, the %d. of this run, after %v; run it alone with %s=%d",
				seed, seed-first+1, time.Since(begin).Round(time.Millisecond), historyEnv, seed)
		}
	}
	t.Logf("%d histories of %d steps in all, %.1f a second", n, steps, float64(n)/time.Since(begin).Seconds())
}

func number(t *testing.T, env string, otherwise int) int {
	t.Helper()
	s := os.Getenv(env)
	if s == "" {
		return otherwise
	}
	n, err := strconv.Atoi(s)
	if err != nil || n < 1 {
		t.Fatalf("%s=%q is no number", env, s)
	}
	return n
}

// emptyRepository is a disk with a fresh repository, to be copied, and its keys.
func emptyRepository(t *testing.T) (*store.Mem, *Repo) {
	t.Helper()
	disk, password := store.NewMem(), []byte("secret")
	st, err := disk.Store()
	if err == nil {
		err = Init(t.Context(), st, InitOptions{Password: password, Cost: seal.KDF{Memory: 64, Time: 1, Threads: 1}})
	}
	if err != nil {
		t.Fatal(err)
	}
	r, err := Open(t.Context(), st, OpenOptions{Password: password})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.Close() })
	return disk, r
}

// quickly makes sessions publish every pack at once, and nobody wait for long,
// until it is undone.
func quickly() (undo func()) {
	target, piece, bytes, merge := packTarget, packPiece, runBytes, mergeRuns
	wait, commit, poll, collect := rivalWait, commitWait, rivalPoll, gcPoll
	garbage := debug.SetGCPercent(400)
	runBytes, mergeRuns = 1, 3
	rivalWait, commitWait, rivalPoll, gcPoll = 0, 2*time.Millisecond, 10*time.Microsecond, 100*time.Microsecond
	return func() {
		debug.SetGCPercent(garbage)
		packTarget, packPiece, runBytes, mergeRuns = target, piece, bytes, merge
		rivalWait, commitWait, rivalPoll, gcPoll = wait, commit, poll, collect
	}
}

// A plan is what a history is drawn from.
type plan struct {
	processes int // at a time
	jobs      int // in all
	sources   int
	pool      int // different chunks
	forgets   int // snapshots at a time, at most
	pack      int // packTarget
	jobsOf    []job
	crashAt   int // the step before which the power fails; 0 for never
	sleepy    float64
	violent   float64
}

// A job is what a process does, with its weight among the others.
type job struct {
	name   string
	weight int
	do     func(*person) error
}

func (p *plan) draw(rng *rand.Rand) job {
	total := 0
	for _, j := range p.jobsOf {
		total += j.weight
	}
	n := rng.IntN(total)
	for _, j := range p.jobsOf {
		if n -= j.weight; n < 0 {
			return j
		}
	}
	panic("unreachable")
}

func drawPlan(rng *rand.Rand) plan {
	p := plan{
		processes: 2 + rng.IntN(4), jobs: 8 + rng.IntN(12), sources: 1 + rng.IntN(3), pool: 3 + rng.IntN(6), forgets: 1 + rng.IntN(3),
		pack:   []int{1, 400, 1 << 20}[rng.IntN(3)],
		sleepy: []float64{0, 0.01, 0.03}[rng.IntN(3)], violent: []float64{0, 0.001, 0.004}[rng.IntN(3)],
		jobsOf: []job{
			{"write", 8, (*person).backUp},
			{"forget", 4, (*person).forget},
			{"collect", 5, (*person).collect},
			{"read", 3, (*person).read},
			{"verify", rng.IntN(2), (*person).verify},
		},
	}
	if rng.IntN(3) == 0 { // many collectors, whose leases are broken again and again
		p.processes, p.jobs, p.sleepy, p.violent = 4+rng.IntN(3), 16+rng.IntN(8), 0.03, 0.01
		p.jobsOf[2].weight = 10
	}
	if rng.IntN(3) == 0 {
		p.crashAt = 1 + rng.IntN(2500)
	}
	return p
}

// A world is one history.
type world struct {
	t     *testing.T
	rng   *rand.Rand
	plan  plan
	disk  *store.Mem
	sched *scheduler
	model *model
	hired int

	mu     sync.Mutex
	failed error
}

// runHistory runs the history of a seed and returns the number of its steps.
func runHistory(t *testing.T, base *store.Mem, keys *Repo, seed uint64) int {
	cryptotest.SetGlobalRandom(t, seed)
	rng := rand.New(rand.NewPCG(seed, 1))
	w := &world{t: t, rng: rng, plan: drawPlan(rng), disk: base.Kill(), model: newModel(keys)}
	w.sched = newScheduler(rng, []float64{0.5, 0.9, 0.98}[rng.IntN(3)])
	defer w.sched.watchdog.Stop()
	packTarget, packPiece = w.plan.pack, max(1, w.plan.pack/2)
	if err := w.model.use(w.disk); err != nil {
		t.Fatal(err)
	}
	w.live()
	w.sched.killAll()
	w.sched.settle()
	if w.failure() == nil {
		w.fail(w.rest())
	}
	if err := w.failure(); err != nil {
		t.Errorf("%v\nplan: %+v\n%s", err, w.plan, w.sched.trace(400))
	}
	return w.sched.steps
}

// fail keeps the first error.
func (w *world) fail(err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.failed == nil {
		w.failed = err
	}
}

func (w *world) failure() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.failed
}

// live lets the processes go on until all jobs are done.
func (w *world) live() {
	for changed := false; w.failure() == nil; {
		if !w.sched.settle() {
			buf := make([]byte, 1<<20)
			w.fail(fmt.Errorf("a process does not come to its gate for %v\n%s", stallTime, buf[:runtime.Stack(buf, true)]))
			return
		}
		if changed {
			if err := w.model.check(); err != nil {
				w.fail(err)
				return
			}
			changed = false
		}
		if w.event() {
			continue
		}
		a, next := w.sched.next()
		if a == nil {
			return
		}
		if next == nil {
			continue
		}
		if w.tires(a, next) {
			continue
		}
		changed = next.matters()
		w.sched.do(a, next)
	}
}

// matters tells whether the model has to be checked after an operation.
func (w *waiter) matters() bool {
	switch w.op {
	case "unlink":
		return true
	case "link":
		return strings.HasPrefix(w.object, "head/") || strings.HasPrefix(w.object, "forgotten/")
	case "rename":
		return strings.HasPrefix(w.object, "sessions/")
	}
	return false
}

// event starts a process, or does something to one, and returns true if
// something changed.
func (w *world) event() bool {
	living := w.sched.living()
	if w.hired < w.plan.jobs && len(living) < w.plan.processes {
		w.hire()
		return true
	}
	switch {
	case w.sched.steps == w.plan.crashAt:
		w.plan.crashAt = 0
		if w.sched.steps > 0 {
			w.crash()
			return true
		}
	case w.rng.Float64() < w.plan.violent/4 && len(living) > 0:
		victim := living[w.rng.IntN(len(living))]
		if w.rng.IntN(3) > 0 {
			w.breakLease(nil)
			return true
		}
		w.sched.remark(victim.name, "is killed")
		w.sched.kill(victim)
		return true
	}
	return false
}

// tires puts a process to sleep now and then, most of all before a step that
// others see, and when it has just looked whether its lease is held. The lease may
// be broken while it sleeps.
func (w *world) tires(a *actor, next *waiter) bool {
	p := w.plan.sleepy / 5
	switch {
	case next.rested:
		return false
	case next.matters():
		p = w.plan.sleepy * 10
	case a.looked:
		p = w.plan.sleepy * 3
	}
	next.rested = true
	if w.rng.Float64() >= p {
		return false
	}
	a.asleep = w.sched.steps + 1<<(3+w.rng.IntN(10))
	a.remark("sleeps before %s %s", next.op, next.object)
	if w.rng.Float64() < w.plan.violent*40 {
		w.breakLease(a)
	}
	return true
}

// breakLease breaks a lease, if there is one: that of a process, or anybody's.
// Its owner goes on.
func (w *world) breakLease(of *actor) {
	leases, err := w.model.store.Leases(background)
	if err != nil {
		w.fail(err)
		return
	}
	leases = slices.DeleteFunc(leases, func(l store.LeaseInfo) bool { return of != nil && !of.process.Holds(l.Name) })
	if len(leases) == 0 {
		return
	}
	name := leases[w.rng.IntN(len(leases))].Name
	for _, a := range w.sched.living() {
		if a.process.Holds(name) {
			a.broken = true
			a.remark("its lease %s is broken", name)
		}
	}
	if f := w.model.of(name); f != nil {
		w.model.set(func(f *fact) { f.broken = true }, f)
	}
	if err := w.model.store.BreakLease(background, name); err != nil {
		w.fail(err)
	}
}

// crash lets the power fail: every process is gone, and what was not synced may be.
func (w *world) crash() {
	w.sched.remark("power", "fails")
	after := w.disk.Crash(rand.New(rand.NewPCG(w.rng.Uint64(), 3)))
	w.sched.killAll()
	w.sched.settle()
	w.disk = after
	if err := w.model.use(after); err != nil {
		w.fail(err)
	} else if err := w.model.check(); err != nil {
		w.fail(err)
	}
}
