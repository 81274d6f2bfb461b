package vm

import "fmt"

// LeftOtherwise is the error of a backup that failed and could not leave the guest as it was found: the next run, or
// Recover, tries again.
type LeftOtherwise struct {
	Cause error // why there is no backup
	Left  error // what could not be undone
}

func (e *LeftOtherwise) Error() string { return fmt.Sprintf("%v (and then: %v)", e.Cause, e.Left) }

// Unwrap gives the cause: what is said of the guest does not change what the failure is.
func (e *LeftOtherwise) Unwrap() error { return e.Cause }
