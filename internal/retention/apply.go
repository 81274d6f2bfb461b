package retention

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"
)

// A Snapshot is what a rule looks at.
type Snapshot struct {
	ID       string
	Seq      uint64 // of the source's snapshots
	Time     time.Time
	Tags     []string
	Verified bool // it was proved that it can be restored
	Partial  bool // something of the source could not be read when it was made
	Damaged  bool // something of it was found lost
}

// A Decision is what becomes of a snapshot.
type Decision struct {
	Snapshot
	Keep    bool
	Reasons []string // all of them, in words, why it is kept
	// Protected: no part of the rule keeps it, but it is the last of its source, by
	// number or by time, or the newest that was verified or that is whole.
	Protected bool
	Doubt     string // why it displaces none: what is wrong with it or its time; "" if nothing is
}

// Options say how to look at the times.
type Options struct {
	// TrustTimes takes the snapshots in the order of their times, and so believes
	// them, as far as they are not in the future.
	TrustTimes bool
}

// FutureTolerance is by how much a snapshot may be ahead of the clock: those of
// several hosts are not quite the same.
const FutureTolerance = time.Hour

// Words of protection.
const (
	LastOfSource   = "last of its source"
	LatestTime     = "latest time of its source"
	NewestVerified = "newest verified"
	NewestWhole    = "newest whole"
)

// Apply decides about all snapshots of one source, and returns them by their
// numbers, the oldest first. Days, weeks and so on are those of the location.
// Of a source that has snapshots at least one is kept. The package's comment
// tells how.
func Apply(rule Rule, snapshots []Snapshot, now time.Time, location *time.Location, o Options) ([]Decision, error) {
	if err := rule.check(); err != nil {
		return nil, err
	}
	snapshots = slices.Clone(snapshots)
	slices.SortFunc(snapshots, func(a, b Snapshot) int {
		return cmp.Or(cmp.Compare(a.Seq, b.Seq), a.Time.Compare(b.Time), strings.Compare(a.ID, b.ID))
	})
	a := &applied{rule: &rule, decisions: make([]Decision, len(snapshots))}
	for i, s := range snapshots {
		a.decisions[i].Snapshot = s
	}
	a.lay(now, location, o)
	a.keepLast()
	for _, p := range periods {
		a.keepPeriod(p)
	}
	a.keepWithin()
	a.keepTagged()
	a.protect()
	a.keepWitnesses()
	return a.decisions, nil
}

// applied is a rule that is being applied.
type applied struct {
	rule      *Rule
	decisions []Decision // by number
	line      []moment   // in the order in which they displace each other
}

// A moment is a snapshot in the order of the line.
type moment struct {
	decision *Decision
	// at is the time that it is taken for, in the location. The zero time is
	// before all.
	at        time.Time
	displaces bool // its time is in order, and nothing of it is lost
	future    bool
	// witness is, of one that is older than what was there already, the last of that
	// whose time is in order.
	witness *Decision
}

// lay puts the snapshots in their order, and finds out whose time is in order.
func (a *applied) lay(now time.Time, location *time.Location, o Options) {
	for i := range a.decisions {
		d := &a.decisions[i]
		a.line = append(a.line, moment{decision: d, at: d.Time.In(location)})
	}
	latest := now.Add(FutureTolerance)
	if o.TrustTimes {
		slices.SortStableFunc(a.line, func(x, y moment) int { return x.at.Compare(y.at) })
	}
	var last *moment
	for i := range a.line {
		m := &a.line[i]
		switch {
		case m.at.After(latest):
			m.decision.Doubt, m.future = "its time is in the future", true
			m.at = time.Time{}
			if last != nil {
				m.at = last.at
			}
		case last != nil && m.at.Before(last.at):
			m.decision.Doubt = fmt.Sprintf("its time is before that of %.8s, which was there already", last.decision.ID)
			m.witness = last.decision
		case m.decision.Damaged:
			m.decision.Doubt = "something of it is lost"
			last = m
		default:
			m.displaces, last = true, m
		}
	}
}

func (m *moment) keep(reason string) {
	m.decision.Keep = true
	m.decision.Reasons = append(m.decision.Reasons, reason)
}

// keepLast keeps the last by number, and the last by time of those that are not
// in the future: an archive of an earlier time that is imported must not push out
// what is newer.
func (a *applied) keepLast() {
	byNumber := make([]*Decision, 0, len(a.decisions))
	for i := range a.decisions {
		byNumber = append(byNumber, &a.decisions[len(a.decisions)-1-i])
	}
	a.countLast(byNumber, "")
	a.countLast(a.latest(), lastByTime)
}

// countLast keeps the first of a list that were not kept yet, and says in what
// order they are the last. What is damaged is not counted.
func (a *applied) countLast(list []*Decision, how string) {
	counted := 0
	for _, d := range list {
		if counted == a.rule.Last {
			break
		}
		if !d.Damaged {
			counted++
		}
		if !d.Keep {
			d.Keep = true
			d.Reasons = append(d.Reasons, fmt.Sprintf("last %d of %d%s", max(counted, 1), a.rule.Last, how))
		}
	}
}

const lastByTime = " by time"

// ByTime tells whether a snapshot stays only because it is among the last by time:
// others have higher numbers, but earlier times.
func ByTime(d Decision) bool {
	return len(d.Reasons) == 1 && strings.HasSuffix(d.Reasons[0], lastByTime)
}

// latest are those that are not in the future, the latest first; of the same
// time the one with the highest number.
func (a *applied) latest() (list []*Decision) {
	for i := range a.line {
		if m := &a.line[i]; !m.future {
			list = append(list, m.decision)
		}
	}
	slices.SortStableFunc(list, func(x, y *Decision) int { return cmp.Or(y.Time.Compare(x.Time), cmp.Compare(y.Seq, x.Seq)) })
	return list
}

// keepPeriod goes from the newest back. Those in order have rising times, so
// that their pieces come in falling order, all but always: there were clocks
// that were set back over midnight. None that comes after a snapshot and is in
// order has a time before its.
func (a *applied) keepPeriod(p period) {
	count, later := p.count(a.rule), []int64(nil) // pieces of those in order that were met, the highest first
	for i := len(a.line) - 1; i >= 0 && count > 0; i-- {
		m := &a.line[i]
		piece := int64(math.MinInt64)
		if !m.at.IsZero() {
			piece = p.number(m.at)
		}
		newer, displaced := slices.BinarySearchFunc(later, piece, func(e, n int64) int { return cmp.Compare(n, e) })
		if newer < count && !displaced {
			m.keep(p.name + " " + m.label(p))
		}
		if m.displaces && !displaced {
			later = slices.Insert(later, newer, piece)
		}
	}
}

func (m *moment) label(p period) string {
	if m.at.IsZero() {
		return "of unknown time"
	}
	return p.label(m.at)
}

func (a *applied) keepWithin() {
	if a.rule.Within == 0 {
		return
	}
	var newest time.Time // none: there is nothing to count from, and all stays
	for _, m := range a.line {
		if m.displaces {
			newest = m.at
		}
	}
	for i := range a.line {
		if m := &a.line[i]; newest.IsZero() || !m.at.Before(newest.Add(-a.rule.Within)) {
			m.keep("within " + FormatDuration(a.rule.Within))
		}
	}
}

func (a *applied) keepTagged() {
	for i := range a.decisions {
		d := &a.decisions[i]
		for _, tag := range a.rule.Tags {
			if slices.Contains(d.Tags, tag) {
				d.Keep = true
				d.Reasons = append(d.Reasons, "tag "+tag)
			}
		}
	}
}

// protect keeps the last snapshot, that with the latest time, the newest verified
// one and the newest whole one.
func (a *applied) protect() {
	a.protectNewest(NewestVerified, func(d *Decision) bool { return d.Verified })
	n := len(a.decisions)
	if n > 0 {
		a.decisions[n-1].protect(LastOfSource)
	}
	if latest := a.latest(); len(latest) > 0 && latest[0] != &a.decisions[n-1] {
		latest[0].protect(LatestTime)
	}
	if n > 0 && a.decisions[n-1].Partial {
		a.protectNewest(NewestWhole, func(d *Decision) bool { return !d.Partial })
	}
}

// protectNewest protects the newest snapshot of which is holds.
func (a *applied) protectNewest(reason string, is func(*Decision) bool) {
	for i := len(a.decisions) - 1; i >= 0; i-- {
		if d := &a.decisions[i]; is(d) {
			d.protect(reason)
			return
		}
	}
}

func (d *Decision) protect(reason string) {
	if !d.Keep || d.Protected {
		d.Keep, d.Protected = true, true
		d.Reasons = append(d.Reasons, reason)
	}
}

// keepWitnesses keeps with each kept snapshot whose time is in doubt the one that
// proves it.
func (a *applied) keepWitnesses() {
	for i := range a.line {
		m := &a.line[i]
		if w := m.witness; m.decision.Keep && w != nil && !w.Keep {
			w.Keep = true
			w.Reasons = append(w.Reasons, fmt.Sprintf("shows that the time of %.8s is wrong", m.decision.ID))
		}
	}
}
