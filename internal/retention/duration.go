package retention

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

const day = 24 * time.Hour

// units of durations. A month and a year are as long as the longest, so that
// never less is kept than was said.
var units = []struct {
	letter byte
	length time.Duration
}{{'y', 366 * day}, {'m', 31 * day}, {'w', 7 * day}, {'d', day}, {'h', time.Hour}}

var errDuration = errors.New("write 30d, 8w, 36h or 1y6m: years, months, weeks, days and hours, in this order")

// ParseDuration reads a duration such as 30d, 8w, 36h or 1y6m. A year counts as
// 366 days and a month as 31.
func ParseDuration(s string) (time.Duration, error) {
	var sum time.Duration
	rest := s
	for _, u := range units {
		digits := len(rest) - len(strings.TrimLeft(rest, "0123456789"))
		if digits == 0 || digits == len(rest) || rest[digits] != u.letter {
			continue
		}
		n, err := strconv.ParseInt(rest[:digits], 10, 64)
		if err != nil || n > int64((math.MaxInt64-sum)/u.length) {
			return 0, fmt.Errorf("duration %q is too long", s)
		}
		sum += time.Duration(n) * u.length
		rest = rest[digits+1:]
	}
	if s == "" || rest != "" {
		return 0, fmt.Errorf("duration %q: %w", s, errDuration)
	}
	return sum, nil
}

// FormatDuration writes a duration in days if it is some, or else in hours: 30d,
// 36h, 90m0s.
func FormatDuration(d time.Duration) string {
	switch {
	case d%day == 0 && d > 0:
		return fmt.Sprintf("%dd", d/day)
	case d%time.Hour == 0:
		return fmt.Sprintf("%dh", d/time.Hour)
	}
	return d.String()
}
