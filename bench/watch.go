package bench

import (
	"bytes"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"time"
)

// A watcher looks at the processes of a group now and then, for what each has
// had resident at most: the kernel keeps that (VmHWM in proc(5)), so only
// processes shorter than the interval are missed.
type watcher struct {
	group int
	quit  chan struct{}
	once  sync.Once
	mu    sync.Mutex
	most  map[int]int64 // by process, in bytes
}

const watchInterval = 25 * time.Millisecond

func watch(group int) *watcher {
	w := &watcher{group: group, quit: make(chan struct{}), most: map[int]int64{}}
	go w.run()
	return w
}

func (w *watcher) run() {
	tick := time.NewTicker(watchInterval)
	defer tick.Stop()
	for {
		w.look()
		select {
		case <-tick.C:
		case <-w.quit:
			return
		}
	}
}

func (w *watcher) stop() { w.once.Do(func() { close(w.quit) }) }

func (w *watcher) peak() (sum int64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, n := range w.most {
		sum += n
	}
	return sum
}

func (w *watcher) look() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.add(w.group)
	// The leader's children and theirs; one that left the group is theirs too.
	for todo := []int{w.group}; len(todo) > 0; todo = todo[1:] {
		for _, child := range children(todo[0]) {
			w.add(child)
			todo = append(todo, child)
		}
	}
}

func (w *watcher) add(pid int) {
	// The last figure, not the largest: it only grows, until a child that still
	// shares its parent's memory becomes another program.
	if n := peakOf(pid); n > 0 {
		w.most[pid] = n
	}
}

// children are those of all threads of a process.
func children(pid int) (list []int) {
	files, _ := filepath.Glob("/proc/" + strconv.Itoa(pid) + "/task/*/children")
	for _, f := range files {
		text, _ := os.ReadFile(f)
		for _, word := range bytes.Fields(text) {
			if child, err := strconv.Atoi(string(word)); err == nil {
				list = append(list, child)
			}
		}
	}
	return list
}

// peakOf is 0 when the process is gone.
func peakOf(pid int) int64 {
	status, _ := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/status")
	return parsePeak(status)
}

// parsePeak finds the line "VmHWM:	   12345 kB".
func parsePeak(status []byte) int64 {
	for line := range bytes.Lines(status) {
		rest, ok := bytes.CutPrefix(line, []byte("VmHWM:"))
		if fields := bytes.Fields(rest); ok && len(fields) == 2 {
			n, _ := strconv.ParseInt(string(fields[0]), 10, 64)
			return n * 1024
		}
	}
	return 0
}
