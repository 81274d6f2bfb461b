package retention

import (
	"fmt"
	"maps"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"
)

var (
	testNow = time.Date(2026, 11, 21, 12, 34, 56, 789, time.UTC)
	zones   = []string{"UTC", "Europe/Berlin", "America/St_Johns", "Australia/Lord_Howe", "Pacific/Apia"}
)

// drawRule draws a rule that keeps something.
func drawRule(t *rapid.T) Rule {
	n := rapid.IntRange(0, 5)
	r := Rule{Last: n.Draw(t, "last"), Hourly: n.Draw(t, "hourly"), Daily: n.Draw(t, "daily"), Weekly: n.Draw(t, "weekly"),
		Monthly: n.Draw(t, "monthly"), Yearly: n.Draw(t, "yearly"), Within: time.Duration(n.Draw(t, "within")*n.Draw(t, "of")) * 7 * time.Hour}
	if rapid.Bool().Draw(t, "tagged") || r.check() != nil {
		r.Tags = []string{"gold"}
	}
	return r
}

// drawStep draws by how much a time is away from another: minutes to years.
func drawStep(t *rapid.T) time.Duration {
	unit := rapid.SampledFrom([]time.Duration{time.Minute, 25 * time.Minute, time.Hour, 5 * time.Hour, day, 6 * day, 40 * day}).Draw(t, "unit")
	return unit * time.Duration(rapid.IntRange(0, 9).Draw(t, "units"))
}

// drawHonest draws snapshots of a clock that was right.
func drawHonest(t *rapid.T) (list []Snapshot) {
	when := testNow
	for range rapid.IntRange(1, 25).Draw(t, "honest") {
		when = when.Add(-drawStep(t))
		list = append(list, drawOne(t, when))
	}
	slices.Reverse(list)
	return number(list)
}

func drawOne(t *rapid.T, when time.Time) Snapshot {
	s := Snapshot{Time: when, Verified: rapid.IntRange(0, 4).Draw(t, "verified") == 0, Partial: rapid.IntRange(0, 2).Draw(t, "partial") == 0}
	if rapid.IntRange(0, 9).Draw(t, "tagged") == 0 {
		s.Tags = []string{"gold"}
	}
	return s
}

// drawAny draws snapshots of any times.
func drawAny(t *rapid.T) []Snapshot {
	list := drawHonest(t)
	for range rapid.IntRange(0, 15).Draw(t, "others") {
		one := drawOne(t, drawForged(t, list))
		one.Damaged = rapid.IntRange(0, 5).Draw(t, "damaged") == 0
		list = slices.Insert(list, rapid.IntRange(0, len(list)).Draw(t, "place"), one)
	}
	return number(list)
}

// drawForged draws a time that is near one that there is, or far off.
func drawForged(t *rapid.T, list []Snapshot) time.Time {
	when := list[rapid.IntRange(0, len(list)-1).Draw(t, "near")].Time
	switch rapid.IntRange(0, 3).Draw(t, "how") {
	case 0:
		when = when.Add(drawStep(t))
	case 1:
		when = when.Add(-drawStep(t))
	case 2:
		when = testNow.Add(drawStep(t))
	default:
		when = when.Add(time.Minute)
	}
	return when
}

// number gives numbers and IDs to those that have none: an ID stays.
func number(list []Snapshot) []Snapshot {
	used := map[string]bool{}
	for _, s := range list {
		used[s.ID] = true
	}
	next := 0
	for i := range list {
		list[i].Seq = uint64(i + 1)
		for ; list[i].ID == ""; next++ {
			if id := fmt.Sprintf("%032d", next); !used[id] {
				list[i].ID = id
				used[id] = true
			}
		}
	}
	return list
}

func drawZone(t *rapid.T) *time.Location {
	l, err := time.LoadLocation(rapid.SampledFrom(zones).Draw(t, "zone"))
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// keptIDs applies a rule and returns what is kept, by ID.
func keptIDs(t *rapid.T, rule Rule, list []Snapshot, now time.Time, l *time.Location, o Options) map[string]bool {
	decisions, err := Apply(rule, list, now, l, o)
	if err != nil {
		t.Fatal(err)
	}
	kept := map[string]bool{}
	for _, d := range decisions {
		if d.Keep != (len(d.Reasons) > 0) {
			t.Fatalf("kept %v for %q", d.Keep, d.Reasons)
		}
		if d.Keep {
			kept[d.ID] = true
		}
	}
	return kept
}

// mustHold demands that what is in part is in all.
func mustHold(t *rapid.T, all, part map[string]bool) {
	for _, id := range slices.Sorted(maps.Keys(part)) {
		if !all[id] {
			t.Fatalf("%s is not kept", id)
		}
	}
}

func drawOptions(t *rapid.T) Options { return Options{TrustTimes: rapid.Bool().Draw(t, "trust")} }

func TestLargerRuleKeepsMore(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		list, rule, l, o := drawAny(t), drawRule(t), drawZone(t), drawOptions(t)
		larger := rule
		for _, n := range []*int{&larger.Last, &larger.Hourly, &larger.Daily, &larger.Weekly, &larger.Monthly, &larger.Yearly} {
			*n += rapid.IntRange(0, 2).Draw(t, "more")
		}
		larger.Within += drawStep(t)
		larger.Tags = []string{"gold"}
		mustHold(t, keptIDs(t, larger, list, testNow, l, o), keptIDs(t, rule, list, testNow, l, o))
	})
}

// What was kept is kept again, so that running it every night takes away no
// more than time does.
func TestApplyingAgainKeepsAll(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		list, rule, l, o := drawAny(t), drawRule(t), drawZone(t), drawOptions(t)
		first := keptIDs(t, rule, list, testNow, l, o)
		rest := slices.DeleteFunc(slices.Clone(list), func(s Snapshot) bool { return !first[s.ID] })
		mustHold(t, keptIDs(t, rule, rest, testNow, l, o), first)
	})
}

func TestNeverEmpty(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		list, o := drawAny(t), drawOptions(t)
		kept := keptIDs(t, drawRule(t), list, testNow, drawZone(t), o)
		if !kept[list[len(list)-1].ID] && len(kept) == 0 {
			t.Fatal("nothing is kept")
		}
		for i := len(list) - 1; i >= 0; i-- {
			if list[i].Verified {
				if !kept[list[i].ID] {
					t.Fatalf("the newest verified, %s, is not kept", list[i].ID)
				}
				break
			}
		}
	})
}

// byTime is a rule without what counts snapshots.
func byTime(t *rapid.T) Rule {
	r := drawRule(t)
	if r.Last = 0; r.check() != nil {
		r.Daily = 3
	}
	return r
}

// Whoever adds snapshots after the honest ones whose times are in the future, or
// before the newest honest one, takes none of them away: neither at once nor
// when the rule is applied again.
func TestForgedTimesAddedLaterChangeNothing(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		honest, rule, l := drawHonest(t), byTime(t), drawZone(t)
		before := keptIDs(t, rule, honest, testNow, l, Options{})
		list, newest := slices.Clone(honest), honest[len(honest)-1].Time
		for range rapid.IntRange(1, 20).Draw(t, "forged") {
			when := drawForged(t, honest)
			if !when.Before(newest) && !when.After(testNow.Add(FutureTolerance)) {
				when = newest.Add(-time.Minute)
			}
			s := drawOne(t, when)
			s.Verified = false // that a snapshot was verified is for others to prove
			list = append(list, s)
		}
		list = number(list)
		for range 3 {
			kept := keptIDs(t, rule, list, testNow, l, Options{})
			for id := range before {
				if s := find(honest, id); !kept[id] && !onlyProtected(t, rule, honest, l, s) {
					t.Fatalf("%s of %v is not kept", id, s.Time)
				}
			}
			list = slices.DeleteFunc(list, func(s Snapshot) bool { return !kept[s.ID] })
		}
	})
}

func find(list []Snapshot, id string) Snapshot {
	return list[slices.IndexFunc(list, func(s Snapshot) bool { return s.ID == id })]
}

// onlyProtected tells whether a snapshot was kept only as the last of its source
// or the newest whole one, which it is no longer when others came.
func onlyProtected(t *rapid.T, rule Rule, list []Snapshot, l *time.Location, s Snapshot) bool {
	decisions, err := Apply(rule, list, testNow, l, Options{})
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range decisions {
		if d.ID == s.ID {
			return d.Protected && !slices.ContainsFunc(d.Reasons, func(r string) bool { return r != LastOfSource && r != NewestWhole })
		}
	}
	return false
}

// Whatever there is, and wherever it was put in: a snapshot stays while fewer
// pieces than the rule counts lie between its time and now, unless one of the
// same piece came after it, by number and by time; and all of the time of
// "within" stays.
func TestWhateverIsAdded(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		list, rule, l := drawAny(t), byTime(t), drawZone(t)
		latest := testNow.Add(FutureTolerance)
		kept := keptIDs(t, rule, list, testNow, l, Options{})
		for i, s := range list {
			if kept[s.ID] || s.Time.After(latest) {
				continue
			}
			if rule.Within > 0 && !s.Time.Before(latest.Add(-rule.Within)) {
				t.Fatalf("%s of %v is within %v of now", s.ID, s.Time, rule.Within)
			}
			for _, p := range periods {
				count, mine := p.count(&rule), p.number(s.Time.In(l))
				same := slices.ContainsFunc(list[i+1:], func(o Snapshot) bool {
					return !o.Time.Before(s.Time) && !o.Time.After(latest) && p.number(o.Time.In(l)) == mine
				})
				if !same && piecesSince(p, s.Time.In(l), latest.In(l), count) < count {
					t.Fatalf("%s of %v is not kept, though it is the newest of its piece by %s %d", s.ID, s.Time, p.name, count)
				}
			}
		}
	})
}

// piecesSince counts the pieces that begin after that of one time and not after
// that of another, up to a limit.
func piecesSince(p period, from, to time.Time, limit int) int {
	pieces := map[int64]bool{}
	for t := from; len(pieces) <= limit && !t.After(to); t = t.Add(20 * time.Minute) {
		pieces[p.number(t)] = true
		if p.name != "hourly" {
			t = t.Add(5 * time.Hour)
		}
	}
	pieces[p.number(to)] = true
	n := 0
	for piece := range pieces {
		if piece > p.number(from) {
			n++
		}
	}
	return n
}
