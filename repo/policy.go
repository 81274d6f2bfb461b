package repo

import (
	"context"
	"errors"

	"vaultfs/repo/format"
)

// PolicyRule is what of snapshots is kept: see format.PolicyRule.
type PolicyRule = format.PolicyRule

// Policy returns the rules in force: those that were set, or else the default.
func (r *Repo) Policy(ctx context.Context) (rules []PolicyRule, set bool, err error) {
	return nil, false, errors.New("not there yet")
}

// SetPolicy puts other rules in force; nil for the default.
func (r *Repo) SetPolicy(ctx context.Context, rules []PolicyRule) error {
	return errors.New("not there yet")
}
