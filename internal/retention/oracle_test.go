package retention

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// oracle says what restic, Borg and Proxmox Backup Server keep by a rule: they
// sort by time, the latest first, and keep of each piece of time the first that
// they meet, as often as the rule says. It is written without any of this
// package, with the calendar's own words for the pieces.
func oracle(rule Rule, list []Snapshot, l *time.Location) map[string]bool {
	list = slices.Clone(list)
	slices.SortStableFunc(list, func(a, b Snapshot) int {
		if c := b.Time.Compare(a.Time); c != 0 {
			return c
		}
		return int(b.Seq) - int(a.Seq)
	})
	kept := map[string]bool{}
	for i, s := range list {
		if i < rule.Last || rule.Within > 0 && list[0].Time.Sub(s.Time) <= rule.Within {
			kept[s.ID] = true
		}
		for _, tag := range rule.Tags {
			if slices.Contains(s.Tags, tag) {
				kept[s.ID] = true
			}
		}
	}
	for _, bucket := range []struct {
		count int
		word  func(time.Time) string
	}{
		{rule.Hourly, func(t time.Time) string { return t.Format("2006-01-02 15 -0700") }},
		{rule.Daily, func(t time.Time) string { return t.Format("2006-01-02") }},
		{rule.Weekly, func(t time.Time) string { y, w := t.ISOWeek(); return fmt.Sprint(y, " ", w) }},
		{rule.Monthly, func(t time.Time) string { return t.Format("2006-01") }},
		{rule.Yearly, func(t time.Time) string { return t.Format("2006") }},
	} {
		met := map[string]bool{}
		for _, s := range list {
			word := bucket.word(s.Time.In(l))
			if !met[word] && len(met) < bucket.count {
				kept[s.ID] = true
			}
			met[word] = true
		}
	}
	return kept
}

// Of right clocks just that is kept which the usual tools keep, and what is
// protected.
func TestHonestTimesAreWhatOthersKeep(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		list, rule, l := drawHonest(t), drawRule(t), drawZone(t)
		want := oracle(rule, list, l)
		decisions, err := Apply(rule, list, testNow, l, Options{TrustTimes: rapid.Bool().Draw(t, "trust")})
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range decisions {
			if got := d.Keep && !d.Protected; got != want[d.ID] || d.Doubt != "" {
				t.Fatalf("%s of %v is kept for %q, want %v; %s", d.ID, d.Time.In(l), d.Reasons, want[d.ID], d.Doubt)
			}
		}
	})
}

// Whatever the times and the order in which the snapshots came, nothing goes
// that the usual tools would keep, those from the future aside.
func TestNeverLessThanOthersKeep(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		list, rule, l, o := drawAny(t), drawRule(t), drawZone(t), drawOptions(t)
		possible := slices.DeleteFunc(slices.Clone(list), func(s Snapshot) bool { return s.Time.After(testNow.Add(FutureTolerance)) })
		mustHold(t, keptIDs(t, rule, list, testNow, l, o), oracle(rule, possible, l))
	})
}

// An old archive that is imported is the last by number, and must not push out
// what is newer.
func TestImportedArchivesPushOutNothingNewer(t *testing.T) {
	list := source(t, "2026-11-19", "2026-11-20", "2019-01-01", "2019-01-02")
	mustKeep(t, kept(t, Rule{Last: 2}, list, "2026-11-21", time.UTC),
		"1: last 2 of 2 by time", "2: last 1 of 2 by time", "3: last 2 of 2", "4: last 1 of 2")
	mustKeep(t, kept(t, Rule{Tags: []string{"none"}}, list, "2026-11-21", time.UTC), "2: latest time of its source", "4: last of its source")
	// One from the future is not the latest.
	list = append(list, source(t, "2019-01-01", "2019-01-01", "2019-01-01", "2019-01-01", "2099-01-01")[4])
	mustKeep(t, kept(t, Rule{Last: 1}, list, "2026-11-21", time.UTC), "2: last 1 of 1 by time", "5: last 1 of 1")
	if d, err := Apply(Rule{Last: 1}, list, at(t, "2026-11-21"), time.UTC, Options{}); err != nil || !ByTime(d[1]) || ByTime(d[4]) {
		t.Errorf("%+v (%v)", d, err)
	}
}

// The newest whole snapshot stays when those after it lack something, and only then.
func TestNewestWholeStays(t *testing.T) {
	list := source(t, "2026-11-17", "2026-11-18", "2026-11-19", "2026-11-20")
	mustKeep(t, kept(t, Rule{Last: 1}, list, "2026-11-21", time.UTC), "4: last 1 of 1")
	list[2].Partial, list[3].Partial = true, true
	mustKeep(t, kept(t, Rule{Last: 1}, list, "2026-11-21", time.UTC), "2: newest whole", "4: last 1 of 1")
	mustKeep(t, kept(t, Rule{Last: 3}, list, "2026-11-21", time.UTC), "2: last 3 of 3", "3: last 2 of 3", "4: last 1 of 3")
	list[0].Partial, list[1].Partial = true, true // there is none
	mustKeep(t, kept(t, Rule{Last: 1}, list, "2026-11-21", time.UTC), "4: last 1 of 1")
}

// A snapshot of which something is lost displaces no other, and is displaced.
func TestDamagedOnesDisplaceNothing(t *testing.T) {
	list := source(t, "2026-11-18T02:00", "2026-11-19T02:00", "2026-11-19T14:00", "2026-11-20T02:00")
	list[2].Damaged, list[3].Damaged = true, true
	mustKeep(t, kept(t, Rule{Daily: 1}, list, "2026-11-21", time.UTC),
		"2: daily 2026-11-19", "3: daily 2026-11-19", "4: daily 2026-11-20")
	mustKeep(t, kept(t, Rule{Last: 1}, list, "2026-11-21", time.UTC), "2: last 1 of 1", "3: last 1 of 1", "4: last 1 of 1")
	mustKeep(t, kept(t, Rule{Within: day}, list, "2026-11-21", time.UTC), "1: within 1d", "2: within 1d", "3: within 1d", "4: within 1d")
	list = append(list, source(t, "2026-11-18", "2026-11-18", "2026-11-18", "2026-11-18", "2026-11-20T14:00")[4])
	mustKeep(t, kept(t, Rule{Daily: 1, Last: 1}, list, "2026-11-21", time.UTC), "5: last 1 of 1, daily 2026-11-20")
	for i := range list {
		list[i].Damaged = true
	}
	if got := kept(t, Rule{Daily: 1}, list, "2026-11-21", time.UTC); len(got) != len(list) {
		t.Errorf("all are damaged, and kept is only %q", got)
	}
}
