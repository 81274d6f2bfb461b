package main

import (
	"fmt"
	"time"
)

// ago writes how long before now a time was: "3 h ago". One that is ahead of now
// is not made to look right.
func ago(now, t time.Time) string {
	switch d := now.Sub(t); {
	case t.IsZero():
		return "never"
	case d < -time.Minute:
		return span(-d) + " in the future"
	case d < time.Minute:
		return "just now"
	default:
		return span(d) + " ago"
	}
}

// span writes a time in the one unit that suits it, rounded down: "45 min", "3 h",
// "12 days".
func span(d time.Duration) string {
	const day = 24 * time.Hour
	switch {
	case d < time.Minute:
		return fmt.Sprintf("%d s", int(d/time.Second))
	case d < time.Hour:
		return fmt.Sprintf("%d min", int(d/time.Minute))
	case d < 2*day:
		return fmt.Sprintf("%d h", int(d/time.Hour))
	default:
		return fmt.Sprintf("%d days", int(d/day))
	}
}
