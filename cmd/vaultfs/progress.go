package main

import (
	"fmt"
	"os"
	"strings"
	"sync"
	"time"

	"golang.org/x/term"
)

// A state is how far a command has come.
type state struct {
	phase       string // "reading"
	done, total int64  // bytes; total is 0 as long as it is not known
}

// How often progress is shown: on a terminal, as JSON, and in a log.
const (
	terminalEvery = 200 * time.Millisecond
	jsonEvery     = 2 * time.Second
	logEvery      = 10 * time.Second // and less often the longer it takes
)

// logPause is how long a log waits for the next line, after so much time: a tenth of
// that, so that what takes a day has about a hundred lines.
func logPause(passed time.Duration) time.Duration { return max(logEvery, passed/10) }

// watch shows what poll says now and then, until stop is called.
func (a *app) watch(poll func() state) (stop func()) {
	show, pause := a.print.progressLine, logPause
	each := func(every time.Duration) func(time.Duration) time.Duration {
		return func(time.Duration) time.Duration { return every }
	}
	width := 0
	switch {
	case a.print.quiet:
		return func() {}
	case a.print.json:
		show, pause = a.print.progressEvent, each(jsonEvery)
	default:
		if width = a.print.terminalWidth(); width > 0 {
			pause = each(terminalEvery)
			show = func(s state, m *meter) { a.print.progressBar(s, m, width) }
		}
	}
	end := make(chan struct{})
	var running sync.WaitGroup
	running.Go(func() {
		m := newMeter()
		tick := time.NewTimer(pause(0))
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				s := poll()
				m.see(s, time.Now())
				show(s, m)
				tick.Reset(pause(time.Since(m.begin)))
			case <-end:
				if width > 0 {
					a.print.stderr("\r\x1b[K")
				}
				return
			}
		}
	})
	return func() {
		close(end)
		running.Wait()
	}
}

// terminalWidth is the width of the terminal that standard error goes to, and
// 0 if it goes elsewhere.
func (p *printer) terminalWidth() int {
	f, ok := p.err.(*os.File)
	if !ok || !term.IsTerminal(int(f.Fd())) {
		return 0
	}
	width, _, err := term.GetSize(int(f.Fd()))
	if err != nil || width < 20 {
		return 80
	}
	return width
}

// A meter works out the rate of the current phase.
type meter struct {
	begin time.Time
	phase string
	last  time.Time
	done  int64
	rate  float64 // bytes a second, of the last few seconds
}

func newMeter() *meter { return &meter{begin: time.Now()} }

// rateMemory is the time after which what was measured counts for little.
const rateMemory = 5 * time.Second

// see takes a state in. The rate is an exponential mean over rateMemory.
func (m *meter) see(s state, now time.Time) {
	if s.phase != m.phase || s.done < m.done {
		*m = meter{begin: m.begin, phase: s.phase, last: now, done: s.done}
		return
	}
	passed := now.Sub(m.last)
	if passed <= 0 {
		return
	}
	current := float64(s.done-m.done) / passed.Seconds()
	weight := min(1, passed.Seconds()/rateMemory.Seconds())
	if m.rate == 0 {
		weight = 1
	}
	m.rate += (current - m.rate) * weight
	m.last, m.done = now, s.done
}

// left is the time until everything is done, as it looks now, or 0 if that
// cannot be told.
func (m *meter) left(s state) time.Duration {
	if m.rate < 1 || s.total <= s.done {
		return 0
	}
	return time.Duration(float64(s.total-s.done) / m.rate * float64(time.Second)).Round(time.Second)
}

// describe writes a state in words: "reading 1.5 GiB of 40.0 GiB, 3%, 512.0 MiB/s, 1m17s left".
func (m *meter) describe(s state) string {
	if s.total == 0 && s.done == 0 {
		return s.phase
	}
	parts := []string{s.phase + " " + iec(s.done)}
	if s.total > 0 {
		parts[0] += " of " + iec(s.total)
		parts = append(parts, fmt.Sprintf("%d%%", min(100, int(float64(s.done)/float64(s.total)*100))))
	}
	if m.rate >= 1 {
		parts = append(parts, iec(int64(m.rate))+"/s")
	}
	if left := m.left(s); left > 0 {
		parts = append(parts, left.String()+" left")
	}
	return strings.Join(parts, ", ")
}

// progressBar shows a state on a terminal, over the one before.
func (p *printer) progressBar(s state, m *meter, width int) {
	const barWidth = 20
	line := m.describe(s)
	if s.total > 0 && width > len(line)+barWidth+4 {
		full := min(barWidth, int(float64(s.done)/float64(s.total)*barWidth))
		line = "[" + strings.Repeat("=", full) + strings.Repeat(" ", barWidth-full) + "] " + line
	}
	p.stderr("\r" + line[:min(len(line), width-1)] + "\x1b[K")
}

// progressLine writes a state to a log.
func (p *printer) progressLine(s state, m *meter) {
	p.stderr("vaultfs: " + m.describe(s) + "\n")
}

// progressEvent prints a state as JSON.
func (p *printer) progressEvent(s state, m *meter) {
	p.object(progressJSON{"progress", s.phase, s.done, s.total, time.Since(m.begin).Seconds()})
}
