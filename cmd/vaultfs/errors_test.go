package main

import (
	"fmt"
	"strings"
	"testing"

	"vaultfs/repo"
)

// What a collection that fails leaves behind is not told as of a backup.
func TestFailedUpkeepSpeaksOfNoBackup(t *testing.T) {
	for _, err := range []error{repo.ErrNoSpace, repo.ErrLeaseBroken} {
		backup, _ := (&app{}).explain(fmt.Errorf("x: %w", err))
		upkeep, status := (&app{upkeep: true}).explain(fmt.Errorf("x: %w", err))
		if !strings.Contains(backup, "nothing was committed") || strings.Contains(upkeep, "committed") ||
			!strings.Contains(upkeep, "no snapshot has lost anything") || status != statusFailed {
			t.Errorf("%q and %q, %d", backup, upkeep, status)
		}
	}
}
