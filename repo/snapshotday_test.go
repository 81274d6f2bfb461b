package repo

import (
	"testing"
	"time"
	_ "time/tzdata" // the zones of the test, wherever it runs
)

// A date names the instants that have it on the calendar, also where clocks are
// changed at midnight.
func TestDatesWhereClocksChangeAtMidnight(t *testing.T) {
	local := time.Local
	defer func() { time.Local = local }()
	for _, c := range []struct{ zone, date string }{
		{"America/Sao_Paulo", "2018-11-03"}, {"America/Sao_Paulo", "2018-11-04"}, {"America/Sao_Paulo", "2018-02-17"}, {"America/Sao_Paulo", "2018-02-18"},
		{"Asia/Beirut", "2024-03-30"}, {"Asia/Beirut", "2024-03-31"}, {"Asia/Beirut", "2024-10-26"}, {"Asia/Beirut", "2024-10-27"},
		{"America/Havana", "2024-03-10"}, {"America/Havana", "2024-11-02"}, {"America/Havana", "2024-11-03"}, {"Atlantic/Azores", "2024-10-27"},
		{"Europe/Berlin", "2026-03-29"}, {"Europe/Berlin", "2026-10-25"}, {"UTC", "2024-02-29"}, {"Africa/Cairo", "2024-04-26"},
	} {
		zone, err := time.LoadLocation(c.zone)
		if err != nil {
			t.Fatal(err)
		}
		time.Local = zone
		begin, end, err := parseTime(c.date)
		if err != nil {
			t.Fatal(err)
		}
		day, _ := time.Parse(time.DateOnly, c.date)
		for at := day.Add(-48 * time.Hour); at.Before(day.Add(72 * time.Hour)); at = at.Add(10 * time.Minute) {
			is := at.In(zone).Format(time.DateOnly) == c.date
			if got := !at.Before(begin) && !at.After(end); got != is {
				t.Errorf("%s in %s: %s is of it: %v", c.date, c.zone, at.In(zone), got)
			}
		}
	}
}
