package main

import (
	"context"
	"fmt"
	"slices"
	"time"

	"vaultfs/internal/retention"
	"vaultfs/repo"
)

// forgetAfter forgets what is not to be kept of the sources of new snapshots, if
// that was asked for, and notes it in the last outcome of each. That it fails is
// a warning: the snapshots are there.
func (a *app) forgetAfter(ctx context.Context, r *repo.Repo, common *ingestOptions, made []outcome) {
	if common.keep == 0 && !common.forget {
		return
	}
	last := map[string]*outcome{}
	for i := range made {
		last[made[i].snapshot.Source] = &made[i]
	}
	for source, o := range last {
		plan, err := a.forgetSource(ctx, r, common, source)
		o.forgot = plan
		if err != nil {
			o.warnings = append(o.warnings, fmt.Sprintf("the new snapshot is committed, but forgetting older ones of %s failed: %s", source, a.sentence(err)))
		}
	}
}

// forgetSource applies the rule to one source. The plan that it returns holds
// what was done.
func (a *app) forgetSource(ctx context.Context, r *repo.Repo, common *ingestOptions, source string) (plan *sourcePlan, err error) {
	release, err := r.DecideAlone(ctx)
	if err != nil {
		return nil, forgetError(err)
	}
	defer func() {
		if failed := release(); err == nil {
			err = failed
		}
	}()
	all, err := r.Snapshots(ctx)
	mine, missing := ofSource(all, source, nil)
	if missing != nil {
		return nil, firstError(err, missing)
	}
	if err != nil {
		a.print.warn(err.Error() + "; what cannot be read is not forgotten")
	}
	k, err := a.keeperAfter(ctx, r, common)
	if err != nil {
		return nil, err
	}
	if plan, err = k.plan(mine); err != nil {
		return nil, err
	}
	if done, err := markForgotten(ctx, r, repo.ForgotByPolicy, plan.forgotten()); err != nil {
		return nil, fmt.Errorf("%w (before that, %d of %d were forgotten)", err, len(done), len(plan.forgotten()))
	}
	return plan, nil
}

// keeperAfter decides as the flags of an ingest say.
func (a *app) keeperAfter(ctx context.Context, r *repo.Repo, common *ingestOptions) (*keeper, error) {
	k, err := a.newKeeper(ctx, r)
	if err != nil {
		return nil, err
	}
	if common.forget {
		return k, k.byPolicy(ctx, r)
	}
	k.byRule(retention.Rule{Last: common.keep}, "--keep")
	return k, nil
}

// wouldKeep tells which snapshots of these times a source would keep if they were
// made in the order of their times, among those it has.
func (a *app) wouldKeep(ctx context.Context, r *repo.Repo, common *ingestOptions, kind, source string, times []time.Time) ([]bool, error) {
	k, err := a.keeperAfter(ctx, r, common)
	if err != nil {
		return nil, err
	}
	all, err := r.Snapshots(ctx)
	if err != nil && len(all) == 0 {
		return nil, err
	}
	var snapshots []*repo.Snapshot
	places := map[string]int{} // of those that would be new, in times
	for i, when := range times {
		s := &repo.Snapshot{ID: fmt.Sprintf("new %d", i), Source: source, Kind: kind, Time: when, Tags: common.tags}
		places[s.ID] = i
		snapshots = append(snapshots, s)
	}
	mine, _ := ofSource(all, source, nil)
	for _, s := range mine {
		known := *s
		snapshots = append(snapshots, &known)
	}
	slices.SortStableFunc(snapshots, func(a, b *repo.Snapshot) int { return a.Time.Compare(b.Time) })
	for i, s := range snapshots {
		s.Seq = uint64(i + 1)
	}
	plan, err := k.plan(snapshots)
	if err != nil {
		return nil, err
	}
	keep := make([]bool, len(times))
	for _, d := range plan.decisions {
		if i, isNew := places[d.ID]; isNew {
			keep[i] = d.Keep
		}
	}
	return keep, nil
}

func firstError(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}
