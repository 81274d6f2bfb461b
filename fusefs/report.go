package fusefs

import (
	"fmt"
	"sync"
	"time"
)

// A minute of trouble is reported in at most reportsPerMinute lines, each another.
const reportsPerMinute = 20

// onceAtMost bounds what is remembered of things that are told only once.
const onceAtMost = 10000

// reporter hands lines to the caller's log, few enough to be read however many
// reads fail.
type reporter struct {
	log func(string) // may be nil

	mu      sync.Mutex
	began   time.Time       // of the minute
	told    map[string]bool // in this minute
	left    int             // not reported in this minute
	forever map[string]bool // told once and for all
}

// problem reports that something failed, and where in it, unless the minute has
// heard of the same failure anywhere in the same thing.
func (r *reporter) problem(what, where string, err error) {
	r.emit(r.limit(what+err.Error(), fmt.Sprintf("%s%s: %v", what, where, err)))
}

// once reports a line that has not been reported yet.
func (r *reporter) once(line string) {
	r.mu.Lock()
	if r.forever == nil {
		r.forever = map[string]bool{}
	}
	known := r.forever[line]
	if len(r.forever) < onceAtMost {
		r.forever[line] = true
	}
	r.mu.Unlock()
	if !known {
		r.emit([]string{line})
	}
}

// limit returns the lines to report now.
func (r *reporter) limit(key, line string) []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	var lines []string
	if now := time.Now(); now.Sub(r.began) > time.Minute {
		if r.left > 0 {
			lines = append(lines, fmt.Sprintf("%d more errors were not reported", r.left))
		}
		r.began, r.told, r.left = now, map[string]bool{}, 0
	}
	if r.told[key] || len(r.told) >= reportsPerMinute {
		r.left++
		return lines
	}
	r.told[key] = true
	return append(lines, line)
}

func (r *reporter) emit(lines []string) {
	if r.log == nil {
		return
	}
	for _, line := range lines {
		r.log(line)
	}
}
