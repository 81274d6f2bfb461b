package retention

import (
	"fmt"
	"time"
)

// A period is a way to cut time, by the calendar of a place, into pieces that
// are numbered in order.
type period struct {
	name  string
	count func(*Rule) int
	// number is the piece that t is in, by t's own time zone.
	number func(t time.Time) int64
	// label is the name of that piece.
	label func(t time.Time) string
}

var periods = []period{
	{"hourly", func(r *Rule) int { return r.Hourly }, hour, func(t time.Time) string { return t.Format("2006-01-02 15h -0700") }},
	{"daily", func(r *Rule) int { return r.Daily }, civilDay, func(t time.Time) string { return t.Format(time.DateOnly) }},
	{"weekly", func(r *Rule) int { return r.Weekly }, isoWeek, weekLabel},
	{"monthly", func(r *Rule) int { return r.Monthly }, month, func(t time.Time) string { return t.Format("2006-01") }},
	{"yearly", func(r *Rule) int { return r.Yearly }, func(t time.Time) int64 { return int64(t.Year()) }, func(t time.Time) string { return t.Format("2006") }},
}

// hour is the second at which the hour began. One that comes twice, when clocks
// are set back, is two.
func hour(t time.Time) int64 { return t.Unix() - int64(t.Minute()*60+t.Second()) }

// civilDay counts days of the calendar, whether they have 23, 24 or 25 hours.
func civilDay(t time.Time) int64 {
	y, m, d := t.Date()
	return time.Date(y, m, d, 0, 0, 0, 0, time.UTC).Unix() / int64(day/time.Second)
}

// isoWeek counts weeks, by the day on which the week begins: a Monday (ISO 8601).
func isoWeek(t time.Time) int64 { return civilDay(t) - int64(t.Weekday()+6)%7 }

func weekLabel(t time.Time) string {
	y, w := t.ISOWeek()
	return fmt.Sprintf("%d-W%02d", y, w)
}

func month(t time.Time) int64 { return int64(t.Year())*12 + int64(t.Month()) }
