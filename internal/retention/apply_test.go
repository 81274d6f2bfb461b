package retention

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
	_ "time/tzdata" // the zones of the tests, wherever they run
)

// at reads a time of the tests, in UTC if it has no zone.
func at(t testing.TB, s string) time.Time {
	t.Helper()
	for _, layout := range []string{time.RFC3339, "2006-01-02T15:04", time.DateOnly} {
		if v, err := time.Parse(layout, s); err == nil {
			return v
		}
	}
	t.Fatalf("time %q", s)
	return time.Time{}
}

// source makes snapshots 1, 2, … of these times.
func source(t testing.TB, times ...string) (list []Snapshot) {
	for i, s := range times {
		list = append(list, Snapshot{ID: fmt.Sprintf("%032d", i+1), Seq: uint64(i + 1), Time: at(t, s)})
	}
	return list
}

func zone(t testing.TB, name string) *time.Location {
	t.Helper()
	l, err := time.LoadLocation(name)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// kept is a line for each kept snapshot: number: reasons.
func kept(t testing.TB, rule Rule, list []Snapshot, now string, l *time.Location) (lines []string) {
	t.Helper()
	decisions, err := Apply(rule, list, at(t, now), l, Options{})
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range decisions {
		if d.Keep {
			lines = append(lines, fmt.Sprintf("%d: %s", d.Seq, strings.Join(d.Reasons, ", ")))
		}
	}
	return lines
}

func mustKeep(t testing.TB, got []string, want ...string) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Errorf("kept\n  %s\nwant\n  %s", strings.Join(got, "\n  "), strings.Join(want, "\n  "))
	}
}

func TestReasons(t *testing.T) {
	list := source(t, "2025-11-03T02:00", "2026-10-12T02:00", "2026-11-09T02:00", "2026-11-16T02:00", "2026-11-20T02:00", "2026-11-20T14:00", "2026-11-21T02:00")
	list[0].Tags, list[4].Verified = []string{"gold", "old"}, true
	rule := Rule{Last: 2, Hourly: 1, Daily: 2, Weekly: 2, Monthly: 2, Yearly: 2, Within: 6 * day, Tags: []string{"gold"}}
	mustKeep(t, kept(t, rule, list, "2026-11-21T03:00", time.UTC),
		"1: yearly 2025, tag gold",
		"2: monthly 2026-10",
		"3: weekly 2026-W46",
		"4: within 6d",
		"5: within 6d",
		"6: last 2 of 2, daily 2026-11-20, within 6d",
		"7: last 1 of 2, hourly 2026-11-21 02h +0000, daily 2026-11-21, weekly 2026-W47, monthly 2026-11, yearly 2026, within 6d")
	mustKeep(t, kept(t, Rule{Tags: []string{"none"}}, list, "2026-11-21T03:00", time.UTC), "5: newest verified", "7: last of its source")
	mustKeep(t, kept(t, Rule{Tags: []string{"none"}}, list[:5], "2026-11-21T03:00", time.UTC), "5: newest verified, last of its source")
	if got := rule.String(); got != "last 2, 1 hourly, 2 daily, 2 weekly, 2 monthly, 2 yearly, within 6d, tag gold" {
		t.Errorf("the rule in words: %s", got)
	}
}

func TestRulesThatKeepNothingAreRefused(t *testing.T) {
	if _, err := Apply(Rule{}, source(t, "2026-01-01"), time.Now(), time.UTC, Options{}); !errors.Is(err, ErrKeepsNothing) {
		t.Errorf("nothing: %v", err)
	}
	for _, r := range []Rule{{Last: -1, Daily: 1}, {Within: -1, Daily: 1}, {Yearly: -3}} {
		if _, err := Apply(r, nil, time.Now(), time.UTC, Options{}); err == nil {
			t.Errorf("%+v was taken", r)
		}
	}
	if d, err := Apply(Rule{Last: 1}, nil, time.Now(), time.UTC, Options{}); err != nil || len(d) > 0 {
		t.Errorf("of no snapshots: %v (%v)", d, err)
	}
}

// A machine that was off for a month loses nothing of what counts back.
func TestCountsFromTheNewest(t *testing.T) {
	list := source(t, "2026-01-01", "2026-01-02", "2026-01-03", "2026-01-04")
	for _, now := range []string{"2026-01-04T01:00", "2026-02-20", "2031-01-01"} {
		mustKeep(t, kept(t, Rule{Within: 2 * day}, list, now, time.UTC), "2: within 2d", "3: within 2d", "4: within 2d")
		mustKeep(t, kept(t, Rule{Daily: 2}, list, now, time.UTC), "3: daily 2026-01-03", "4: daily 2026-01-04")
	}
}

// The clocks are changed in Berlin on 2026-03-29 at 2:00 and on 2026-10-25 at
// 3:00, and days begin an hour or two before those of UTC.
func TestDaylightSaving(t *testing.T) {
	berlin := zone(t, "Europe/Berlin")
	// A day of 23 hours, from 23:00 to 22:00 UTC.
	mustKeep(t, kept(t, Rule{Daily: 10}, source(t, "2026-03-28T22:59", "2026-03-28T23:00", "2026-03-29T21:59", "2026-03-29T22:00"), "2026-04-01", berlin),
		"1: daily 2026-03-28", "3: daily 2026-03-29", "4: daily 2026-03-30")
	// A day of 25 hours, from 22:00 to 23:00 UTC.
	mustKeep(t, kept(t, Rule{Daily: 10}, source(t, "2026-10-24T21:59", "2026-10-24T22:00", "2026-10-25T22:59", "2026-10-25T23:00"), "2026-11-01", berlin),
		"1: daily 2026-10-24", "3: daily 2026-10-25", "4: daily 2026-10-26")
	// An hour that comes twice.
	mustKeep(t, kept(t, Rule{Hourly: 10}, source(t, "2026-10-25T00:10", "2026-10-25T00:50", "2026-10-25T01:10", "2026-10-25T01:50", "2026-10-25T02:10"), "2026-11-01", berlin),
		"2: hourly 2026-10-25 02h +0200", "4: hourly 2026-10-25 02h +0100", "5: hourly 2026-10-25 03h +0100")
	// An hour that is left out: what comes after 1:59 is 3:00.
	mustKeep(t, kept(t, Rule{Hourly: 2}, source(t, "2026-03-29T00:10", "2026-03-29T00:59", "2026-03-29T01:00"), "2026-04-01", berlin),
		"2: hourly 2026-03-29 01h +0100", "3: hourly 2026-03-29 03h +0200")
	// Clocks that were set back over midnight: 0:00:30 came before 23:30.
	mustKeep(t, kept(t, Rule{Daily: 2}, source(t, "2006-10-27T12:00", "2006-10-29T02:29:00Z", "2006-10-29T02:30:30Z", "2006-10-29T03:00:00Z"), "2006-11-01", zone(t, "America/St_Johns")),
		"3: daily 2006-10-29", "4: daily 2006-10-28")
	// A zone of half hours, whose clocks are changed by half an hour.
	mustKeep(t, kept(t, Rule{Hourly: 10}, source(t, "2026-04-04T14:20:00Z", "2026-04-04T14:59:00Z", "2026-04-04T15:10:00Z", "2026-04-04T15:40:00Z"), "2026-05-01", zone(t, "Australia/Lord_Howe")),
		"2: hourly 2026-04-05 01h +1100", "3: hourly 2026-04-05 01h +1030", "4: hourly 2026-04-05 02h +1030")
}

func TestISOWeeks(t *testing.T) {
	mustKeep(t, kept(t, Rule{Weekly: 9}, source(t, "2026-12-27", "2026-12-28", "2027-01-03", "2027-01-04", "2029-12-30", "2029-12-31", "2030-01-01"), "2031-01-01", time.UTC),
		"1: weekly 2026-W52", "3: weekly 2026-W53", "4: weekly 2027-W01", "5: weekly 2029-W52", "7: weekly 2030-W01")
}

// Where a day ends is decided by the place, not by the time's own zone.
func TestLocationDecides(t *testing.T) {
	list := source(t, "2026-05-01T09:00:00+14:00", "2026-05-01T09:59:00Z", "2026-05-01T10:01:00Z")
	mustKeep(t, kept(t, Rule{Daily: 5}, list, "2026-06-01", time.UTC), "1: daily 2026-04-30", "3: daily 2026-05-01")
	mustKeep(t, kept(t, Rule{Daily: 5}, list, "2026-06-01", zone(t, "Pacific/Kiritimati")), "2: daily 2026-05-01", "3: daily 2026-05-02")
}

// daily makes a source with a backup a night.
func daily(t testing.TB, first string, n int) (list []Snapshot) {
	for i := range n {
		list = append(list, Snapshot{ID: fmt.Sprintf("%032d", i+1), Seq: uint64(i + 1), Time: at(t, first).AddDate(0, 0, i)})
	}
	return list
}

func add(list []Snapshot, times ...time.Time) []Snapshot {
	for _, t := range times {
		n := len(list) + 1
		list = append(list, Snapshot{ID: fmt.Sprintf("%032d", n), Seq: uint64(n), Time: t})
	}
	return list
}

// What was made with a wrong clock displaces nothing, and goes all the same.
func TestWrongClocks(t *testing.T) {
	rule := Rule{Daily: 3}
	list := daily(t, "2026-05-01T02:00", 5)
	// A future one stands with the one before it.
	future := add(list, at(t, "2099-01-01"))
	mustKeep(t, kept(t, rule, future, "2026-05-05T03:00", time.UTC),
		"3: daily 2026-05-03", "4: daily 2026-05-04", "5: daily 2026-05-05", "6: daily 2026-05-05")
	for i := range 3 {
		future = add(future, at(t, "2026-05-06T02:00").AddDate(0, 0, i))
	}
	mustKeep(t, kept(t, rule, future, "2026-05-08T03:00", time.UTC),
		"7: daily 2026-05-06", "8: daily 2026-05-07", "9: daily 2026-05-08")
	// One of the past stands by itself, until enough came after it.
	past := add(list, at(t, "1970-01-01T00:05"))
	mustKeep(t, kept(t, rule, past, "2026-05-05T03:00", time.UTC),
		"3: daily 2026-05-03", "4: daily 2026-05-04", "5: daily 2026-05-05", "6: daily 1970-01-01")
	mustKeep(t, kept(t, Rule{Within: day}, past, "2026-05-05T03:00", time.UTC), "4: within 1d", "5: within 1d", "6: last of its source")
	for i := range 3 {
		past = add(past, at(t, "2026-05-06T02:00").AddDate(0, 0, i))
	}
	mustKeep(t, kept(t, rule, past, "2026-05-08T03:00", time.UTC),
		"7: daily 2026-05-06", "8: daily 2026-05-07", "9: daily 2026-05-08")
	// The clock of who forgets is wrong by years.
	mustKeep(t, kept(t, rule, list, "2036-01-01", time.UTC), "3: daily 2026-05-03", "4: daily 2026-05-04", "5: daily 2026-05-05")
	if got := kept(t, rule, list, "2016-01-01", time.UTC); len(got) != len(list) {
		t.Errorf("all are in the future, and kept is only %q", got)
	}
	// A machine whose clock begins at 1970 with each start.
	reset := source(t, "1970-01-01T00:05", "1970-01-01T00:07", "1970-01-01T00:04", "1970-01-01T00:06")
	if got := kept(t, rule, reset, "2026-01-01", time.UTC); len(got) != 3 {
		t.Errorf("of a clock that begins at 1970: %q", got)
	}
	decisions, err := Apply(rule, past[:6], at(t, "2026-05-05T03:00"), time.UTC, Options{})
	if err != nil || !strings.Contains(decisions[5].Doubt, "before that of") || decisions[4].Doubt != "" {
		t.Errorf("doubts %q and %q (%v)", decisions[5].Doubt, decisions[4].Doubt, err)
	}
}

// Archives that were imported in another order than they were made.
func TestImportsOutOfOrder(t *testing.T) {
	list := source(t, "2020-05-04", "2020-05-01", "2020-05-03", "2020-06-01", "2020-05-02")
	rule := Rule{Monthly: 12}
	if got := kept(t, rule, list, "2026-01-01", time.UTC); len(got) != 5 {
		t.Errorf("kept %q, want all: their order is in doubt", got)
	}
	decisions, err := Apply(rule, list, at(t, "2026-01-01"), time.UTC, Options{TrustTimes: true})
	if err != nil {
		t.Fatal(err)
	}
	for i, want := range []bool{true, false, false, true, true} { // 5 is the last of its source
		if d := decisions[i]; d.Keep != want || d.Protected != (i == 4) || d.Doubt != "" {
			t.Errorf("%+v, kept %v", d, want)
		}
	}
	// In order they are as any others.
	slices.SortFunc(list, func(a, b Snapshot) int { return a.Time.Compare(b.Time) })
	for i := range list {
		list[i].Seq = uint64(i + 1)
	}
	mustKeep(t, kept(t, rule, list, "2026-01-01", time.UTC), "4: monthly 2020-05", "5: monthly 2020-06")
}

func TestTenThousand(t *testing.T) {
	list := daily(t, "1999-01-01T02:00", 10_000)
	for i := range list {
		if i%7 == 3 {
			list[i].Time = list[i].Time.AddDate(0, -5, 0)
		}
	}
	begin := time.Now()
	if _, err := Apply(Rule{Last: 100, Hourly: 1000, Daily: 1000, Weekly: 1000, Monthly: 1000, Yearly: 100, Within: 1000 * day, Tags: []string{"x"}},
		list, at(t, "2030-01-01"), zone(t, "Europe/Berlin"), Options{}); err != nil {
		t.Fatal(err)
	}
	if took := time.Since(begin); took > 2*time.Second {
		t.Errorf("10,000 snapshots took %v", took)
	}
}

func TestDurations(t *testing.T) {
	for s, want := range map[string]time.Duration{"30d": 30 * day, "8w": 56 * day, "1y6m": (366 + 186) * day, "36h": 36 * time.Hour, "1y2m3w4d5h": (366+62+21+4)*day + 5*time.Hour, "0d": 0} {
		if got, err := ParseDuration(s); err != nil || got != want {
			t.Errorf("%s: %v, want %v (%v)", s, got, want, err)
		}
	}
	for _, s := range []string{"", "30", "d", "30x", "1d1w", "1d 1h", "-1d", "1.5d", "99999999999999d", "300y", "30dd"} {
		if got, err := ParseDuration(s); err == nil {
			t.Errorf("%q is %v", s, got)
		}
	}
	for d, want := range map[time.Duration]string{30 * day: "30d", 36 * time.Hour: "36h", 90 * time.Minute: "1h30m0s"} {
		if got := FormatDuration(d); got != want {
			t.Errorf("%v is written %s, want %s", d, got, want)
		}
	}
}
