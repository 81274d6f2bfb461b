package repo

import (
	"fmt"
	"math/rand/v2"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"sync"
	"time"

	"vaultfs/repo/store"
)

// A scheduler lets the processes of a history go on by one operation of the
// disk at a time. The operation is chosen when every process waits at its gate,
// so that whoever reads the disk between two steps sees it at rest.
type scheduler struct {
	rng      *rand.Rand
	stay     float64 // how probably the process that has just gone on goes on
	mu       sync.Mutex
	changed  *sync.Cond // a process came to its gate, or ended
	actors   []*actor   // that have not ended
	current  *actor
	steps    int
	lines    []line
	stalled  bool
	watchdog *time.Timer
}

// A line of the trace is a step, or a remark of or on a process.
type line struct {
	who, op, object string
	remark          bool
}

func newScheduler(rng *rand.Rand, stay float64) *scheduler {
	s := &scheduler{rng: rng, stay: stay}
	s.changed = sync.NewCond(&s.mu)
	s.watchdog = time.AfterFunc(stallTime, func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.stalled = true
		s.changed.Broadcast()
	})
	return s
}

// stallTime is how long a process may go on without coming to its gate.
const stallTime = 60 * time.Second

// An actor is a process of a history.
type actor struct {
	sched   *scheduler
	name    string
	process *store.Process
	waiting []*waiter
	ended   bool
	killed  bool
	broken  bool // one of its leases was broken
	asleep  int  // until this step
	looked  bool // its last step was to look at its lease
}

// A waiter is an operation that waits at its gate.
type waiter struct {
	op, object string
	rested     bool // it was decided whether the process sleeps before it
	open       chan struct{}
	begun      chan struct{}
}

// start starts a process that does what main says.
func (s *scheduler) start(name string, disk *store.Mem, main func(a *actor)) {
	a := &actor{sched: s, name: name}
	a.process = disk.Process(a.gate)
	s.mu.Lock()
	s.actors = append(s.actors, a)
	s.mu.Unlock()
	go func() {
		main(a)
		a.process.Kill()
		s.mu.Lock()
		defer s.mu.Unlock()
		a.ended = true
		s.changed.Signal()
	}()
}

func (a *actor) gate(op, object string) (begun func()) {
	s := a.sched
	s.mu.Lock()
	if a.killed {
		s.mu.Unlock()
		return func() {}
	}
	w := &waiter{op: op, object: object, open: make(chan struct{}), begun: make(chan struct{})}
	a.waiting = append(a.waiting, w)
	s.changed.Signal()
	s.mu.Unlock()
	<-w.open
	return func() { close(w.begun) }
}

// settle waits until every process waits at its gate. It returns false when one
// does not come there.
func (s *scheduler) settle() bool {
	runtime.Gosched() // several goroutines of one process may be on their way
	s.mu.Lock()
	defer s.mu.Unlock()
	s.watchdog.Reset(stallTime)
	for !s.settled() {
		if s.stalled {
			return false
		}
		s.changed.Wait()
	}
	return true
}

// settled also removes the processes that have ended.
func (s *scheduler) settled() bool {
	still := true
	left := s.actors[:0]
	for _, a := range s.actors {
		if a.ended {
			continue
		}
		left = append(left, a)
		if a.killed || len(a.waiting) == 0 {
			still = false
		}
	}
	clear(s.actors[len(left):])
	s.actors = left
	return still
}

// next chooses the operation that comes next; no actor when all have ended, and
// no operation when the choice has to be made again.
func (s *scheduler) next() (*actor, *waiter) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.actors) == 0 {
		return nil, nil
	}
	a := s.current
	if a == nil || a.ended || a.killed || a.asleep > s.steps || s.rng.Float64() > s.stay {
		a = s.choose()
	}
	if len(a.waiting) == 0 {
		return a, nil // it has just ended by itself
	}
	i := s.rng.IntN(len(a.waiting))
	s.current = a
	return a, a.waiting[i]
}

// choose chooses a process that is awake, or wakes the one that wakes first.
func (s *scheduler) choose() *actor {
	var awake []*actor
	first := s.actors[0]
	for _, a := range s.actors {
		if a.asleep <= s.steps {
			awake = append(awake, a)
		}
		if a.asleep < first.asleep {
			first = a
		}
	}
	if len(awake) == 0 {
		first.asleep = 0
		return first
	}
	return awake[s.rng.IntN(len(awake))]
}

// do lets an operation go on, and returns when it has the disk to itself.
func (s *scheduler) do(a *actor, w *waiter) {
	s.mu.Lock()
	i := slices.Index(a.waiting, w)
	if i < 0 {
		s.mu.Unlock()
		return // the process has just ended by itself
	}
	a.waiting = slices.Delete(a.waiting, i, i+1)
	a.looked = w.op == "stat" && strings.HasPrefix(w.object, "sessions/")
	s.steps++
	s.lines = append(s.lines, line{who: a.name, op: w.op, object: w.object})
	s.mu.Unlock()
	close(w.open)
	<-w.begun
}

// kill kills a process, and returns when all of it has ended.
func (s *scheduler) kill(a *actor) {
	s.mu.Lock()
	a.killed = true
	a.process.Kill()
	for _, w := range a.waiting {
		close(w.open)
	}
	a.waiting = nil
	s.mu.Unlock()
}

func (s *scheduler) killAll() {
	for _, a := range s.living() {
		s.kill(a)
	}
}

func (s *scheduler) living() []*actor {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]*actor{}, s.actors...)
}

func (s *scheduler) note(l line) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.lines = append(s.lines, l)
}

// remark adds a remark to the trace.
func (s *scheduler) remark(who, text string, args ...any) {
	s.note(line{who: who, op: fmt.Sprintf(text, args...), remark: true})
}

func (a *actor) remark(text string, args ...any) { a.sched.remark(a.name, text, args...) }

var longHex = regexp.MustCompile(`\b([0-9a-f]{6})[0-9a-f]{8,}|\b0{10,}`)

// trace tells the last steps, with the remarks and changes before them.
func (s *scheduler) trace(last int) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var b strings.Builder
	for i, l := range s.lines {
		looks := l.op == "open" || l.op == "stat" || l.op == "lock" || strings.HasPrefix(l.op, "list") || l.op == "syncdir" || l.object == ""
		if !l.remark && looks && i < len(s.lines)-last {
			continue
		}
		if l.op == "list next" {
			continue
		}
		mark := ""
		if l.remark {
			mark = "— "
		}
		fmt.Fprintf(&b, "%5d %-9s %s%s %s\n", i, l.who, mark, longHex.ReplaceAllString(l.op, "$1"), longHex.ReplaceAllString(l.object, "$1"))
	}
	return b.String()
}
