package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"vaultfs/internal/retention"
	"vaultfs/repo"
)

// A sourcePlan is what becomes of the snapshots of a source.
type sourcePlan struct {
	source, kind string
	rule         string // in words; "" if snapshots were named
	whose        string // the rule is: "the policy for vm"
	snapshots    []*repo.Snapshot
	decisions    []retention.Decision // one for each snapshot
}

// forgotten are the snapshots that are not kept.
func (p *sourcePlan) forgotten() (list []*repo.Snapshot) {
	for i, d := range p.decisions {
		if !d.Keep {
			list = append(list, p.snapshots[i])
		}
	}
	return list
}

// A keeper decides what is kept of sources.
type keeper struct {
	verified func(*repo.Snapshot) bool
	damaged  func(*repo.Snapshot) bool
	now      time.Time
	rule     func(kind, source string) (rule retention.Rule, whose string)
	options  retention.Options
	// allowLast forgets what is protected, too, if no part of the rule keeps it:
	// see retention.Decision.
	allowLast bool
}

// newKeeper asks the ledger for what was verified.
func (a *app) newKeeper(ctx context.Context, r *repo.Repo) (*keeper, error) {
	ledger, err := r.Ledger(ctx)
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	if err != nil {
		a.print.warn(err.Error())
	}
	return &keeper{
		verified: func(s *repo.Snapshot) bool { return !ledger.Verified(s).IsZero() },
		damaged:  func(s *repo.Snapshot) bool { return !ledger.Damaged(s).IsZero() },
		now:      time.Now(),
	}, nil
}

// byPolicy makes the keeper take the rules of the policy in force.
func (k *keeper) byPolicy(ctx context.Context, r *repo.Repo) error {
	rules, _, err := r.Policy(ctx)
	if errors.Is(err, repo.ErrDamaged) {
		return fmt.Errorf("%w; nothing is forgotten by it: `vaultfs policy set` makes a new one, or say with --keep-… what to keep", err)
	}
	k.rule = func(kind, source string) (retention.Rule, string) {
		rule := repo.RuleFor(rules, kind, source)
		return toRule(rule), "the policy for " + ruleFor(rule.For)
	}
	return err
}

// byRule makes the keeper take one rule.
func (k *keeper) byRule(rule retention.Rule, whose string) {
	k.rule = func(string, string) (retention.Rule, string) { return rule, whose }
}

// plan decides about a source, given all of its snapshots.
func (k *keeper) plan(snapshots []*repo.Snapshot) (*sourcePlan, error) {
	newest := snapshots[0]
	byID := map[string]*repo.Snapshot{}
	var list []retention.Snapshot
	for _, s := range snapshots {
		byID[s.ID] = s
		if s.Seq > newest.Seq {
			newest = s
		}
		list = append(list, retention.Snapshot{ID: s.ID, Seq: s.Seq, Time: s.Time, Tags: s.Tags,
			Verified: k.verified(s), Partial: partial(s), Damaged: k.damaged(s)})
	}
	p := &sourcePlan{source: newest.Source, kind: newest.Kind}
	rule, whose := k.rule(p.kind, p.source)
	decisions, err := retention.Apply(rule, list, k.now, time.Local, k.options)
	if err != nil {
		return nil, fmt.Errorf("%s: %s: %w", p.source, whose, err)
	}
	for i := range decisions {
		if d := &decisions[i]; d.Protected && k.allowLast {
			d.Keep, d.Reasons = false, nil
		}
		p.snapshots = append(p.snapshots, byID[decisions[i].ID])
	}
	p.rule, p.whose, p.decisions = rule.String(), whose, decisions
	return p, nil
}

// partial tells whether something of the source could not be read when a snapshot
// was made.
func partial(s *repo.Snapshot) bool { return s.Info.Summary.FilesUnread > 0 }

// bySource groups snapshots by their sources, in the order of their names.
func bySource(all []*repo.Snapshot) (groups [][]*repo.Snapshot) {
	for _, name := range sources(all) {
		mine, _ := ofSource(all, name, nil)
		groups = append(groups, mine)
	}
	return groups
}

// markForgotten marks snapshots, one after the other, and returns those that
// are marked by then.
func markForgotten(ctx context.Context, r *repo.Repo, reason string, snapshots []*repo.Snapshot) (done []*repo.Snapshot, err error) {
	for _, s := range snapshots {
		if err := r.Forget(ctx, reason, s); err != nil {
			return done, forgetError(err)
		}
		done = append(done, s)
	}
	return done, nil
}

// forgetError keeps what Forget says of a full disk from being worded as if a
// backup had failed.
func forgetError(err error) error {
	if errors.Is(err, repo.ErrNoSpace) {
		return errors.New(err.Error())
	}
	return err
}
