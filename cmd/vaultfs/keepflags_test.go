package main

import (
	"testing"
	"time"

	"vaultfs/internal/retention"
	"vaultfs/repo"
	"vaultfs/repo/format"
)

// A policy may go back for longer than a time.Duration can: that is as long as
// can be, and not a short or a negative time.
func TestRulesThatGoBackForCenturies(t *testing.T) {
	now := time.Now()
	for _, seconds := range []int64{format.MaxDuration, maxWithin + 1, maxWithin} {
		rule := toRule(repo.PolicyRule{Within: seconds})
		list := []retention.Snapshot{{ID: "old", Seq: 1, Time: now.AddDate(-200, 0, 0)}, {ID: "new", Seq: 2, Time: now}}
		decisions, err := retention.Apply(rule, list, now, time.UTC, retention.Options{})
		if err != nil || !decisions[0].Keep {
			t.Errorf("within %d s: %+v (%v)", seconds, decisions, err)
		}
	}
}
