package repo

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"vaultfs/repo/format"
	"vaultfs/repo/store"
)

// PolicyRule is what of snapshots is kept: see format.PolicyRule.
type PolicyRule = format.PolicyRule

const day = 24 * 60 * 60 // seconds

// DefaultPolicy is the policy of a repository for which none was set: half a
// year is enough of most virtual machines, whose snapshots are large.
func DefaultPolicy() []PolicyRule {
	return []PolicyRule{
		{For: "", Last: 5, Daily: 7, Weekly: 4, Monthly: 12, Yearly: 2, MaxUnread: 45 * day},
		{For: "vm", Last: 5, Daily: 7, Weekly: 4, Monthly: 6},
	}
}

// RuleFor returns the rule for a source of a kind: the source's own, or else the
// kind's, or else the one for all others.
func RuleFor(rules []PolicyRule, kind, source string) (found PolicyRule) {
	for _, name := range []string{source, kind, ""} {
		if i := slices.IndexFunc(rules, func(r PolicyRule) bool { return r.For == name }); i >= 0 {
			return rules[i]
		}
	}
	return found
}

func policyObject(seq uint64) string { return numberedObject("policy", seq) }

// policySeqs lists the policies that exist, lowest first.
func (r *Repo) policySeqs(ctx context.Context) ([]uint64, error) { return r.numbers(ctx, "policy") }

// Policy returns the rules in force: those that were set, or else the default.
// One that cannot be read is an error, not the default: it may have kept more.
func (r *Repo) Policy(ctx context.Context) (rules []PolicyRule, set bool, err error) {
	for {
		seqs, err := r.policySeqs(ctx)
		if err != nil {
			return nil, false, err
		}
		if len(seqs) == 0 {
			return DefaultPolicy(), false, nil
		}
		p, err := r.readPolicy(ctx, seqs[len(seqs)-1])
		switch {
		case errors.Is(err, store.ErrNotFound): // newer ones took its place meanwhile
		case err != nil:
			return nil, false, err
		case len(p.Rules) == 0:
			return DefaultPolicy(), false, nil
		default:
			return p.Rules, true, nil
		}
	}
}

func (r *Repo) readPolicy(ctx context.Context, seq uint64) (*format.Policy, error) {
	name := policyObject(seq)
	b, err := r.store.Get(ctx, name, format.MaxPolicySize)
	if errors.Is(err, store.ErrNotFound) {
		return nil, err
	}
	var p *format.Policy
	if err == nil {
		p, err = format.DecodePolicy(r.policyKey, name, b)
	}
	if err == nil && p.Seq != seq {
		err = fmt.Errorf("%w: it is policy %d under another name", ErrDamaged, p.Seq)
	}
	if err != nil {
		return nil, damage(name, err)
	}
	return p, nil
}

// SetPolicy puts other rules in force; nil for the default. There must be one
// for "", and each must keep something.
func (r *Repo) SetPolicy(ctx context.Context, rules []PolicyRule) error {
	if err := r.mayForget(ctx); err != nil {
		return err
	}
	rules = slices.Clone(rules)
	slices.SortFunc(rules, func(a, b PolicyRule) int { return strings.Compare(a.For, b.For) })
	if err := checkRules(rules); err != nil {
		return err
	}
	seqs, err := r.policySeqs(ctx)
	if err != nil {
		return err
	}
	p := &format.Policy{Seq: 1, Rules: rules}
	if len(seqs) > 0 {
		p.Seq += seqs[len(seqs)-1]
	}
	name := policyObject(p.Seq)
	b := p.Encode(newSalt(), r.policyKey, name)
	if len(b) > format.MaxPolicySize {
		return fmt.Errorf("the policy has %d bytes, more than %d", len(b), format.MaxPolicySize)
	}
	err = r.store.Put(ctx, name, b)
	if errors.Is(err, store.ErrExists) {
		return errors.New("somebody else has set the policy at this moment; look at it and set yours again")
	}
	if err != nil {
		return fmt.Errorf("setting the policy: %w", err)
	}
	return r.dropOld(ctx, "policy", p.Seq)
}

func checkRules(rules []PolicyRule) error {
	if err := (&format.Policy{Rules: rules}).Check(); err != nil {
		return err
	}
	for _, rule := range rules {
		if rule.KeepsNothing() {
			return fmt.Errorf("the rule for %q keeps nothing", rule.For)
		}
	}
	if len(rules) > 0 && rules[0].For != "" {
		return errors.New(`the policy has no rule for "", which is that of all others`)
	}
	return nil
}
