package retention

import (
	"errors"
	"fmt"
	"strings"
	"time"
)

// A Rule says what to keep. A snapshot stays if any part of the rule keeps it.
type Rule struct {
	Last int // the last snapshots, by number
	// The newest snapshot of each of the last hours, days, ISO weeks, months and
	// years that have one.
	Hourly, Daily, Weekly, Monthly, Yearly int
	Within                                 time.Duration // all of so long before the newest snapshot
	Tags                                   []string      // all that have one of these
}

// ErrKeepsNothing is the refusal of a rule that keeps nothing.
var ErrKeepsNothing = errors.New("the rule keeps nothing")

// check refuses a rule that keeps nothing, or less than nothing.
func (r *Rule) check() error {
	keeps := r.Within > 0 || len(r.Tags) > 0
	for _, n := range []int{r.Last, r.Hourly, r.Daily, r.Weekly, r.Monthly, r.Yearly} {
		if n < 0 {
			return fmt.Errorf("the rule keeps %d snapshots", n)
		}
		keeps = keeps || n > 0
	}
	if r.Within < 0 {
		return fmt.Errorf("the rule keeps what is within %v", r.Within)
	}
	if !keeps {
		return ErrKeepsNothing
	}
	return nil
}

// String is the rule in words: "last 5, 7 daily, 4 weekly, within 30d, tag gold".
func (r Rule) String() string {
	var parts []string
	if r.Last > 0 {
		parts = append(parts, fmt.Sprintf("last %d", r.Last))
	}
	for _, b := range periods {
		if n := b.count(&r); n > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", n, b.name))
		}
	}
	if r.Within > 0 {
		parts = append(parts, "within "+FormatDuration(r.Within))
	}
	for _, tag := range r.Tags {
		parts = append(parts, "tag "+tag)
	}
	if len(parts) == 0 {
		return "nothing"
	}
	return strings.Join(parts, ", ")
}
