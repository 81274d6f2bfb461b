package main

import (
	"context"
	"fmt"

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
	k, err := a.newKeeper(ctx, r)
	if err != nil {
		return nil, err
	}
	if common.forget {
		err = k.byPolicy(ctx, r)
	} else {
		k.byRule(retention.Rule{Last: common.keep}, "--keep")
	}
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

func firstError(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}
