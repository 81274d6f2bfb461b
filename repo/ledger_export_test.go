package repo

import "time"

// SetClock sets the clock that the ledger is written and read by, until it is
// undone.
func SetClock(now func() time.Time) (undo func()) {
	was := wallClock
	wallClock = now
	return func() { wallClock = was }
}
