package repo

import "time"

// ShortWaits makes it short how long a session or a collector waits for a lease
// that it cannot read, until it is undone.
func ShortWaits() (undo func()) {
	rival, commit := rivalWait, commitWait
	rivalWait, commitWait = 10*time.Millisecond, 50*time.Millisecond
	return func() { rivalWait, commitWait = rival, commit }
}
