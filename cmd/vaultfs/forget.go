package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"vaultfs/internal/retention"
	"vaultfs/repo"
)

// forgetFlags are the flags of forget.
type forgetFlags struct {
	rule                        retention.Rule
	trustTimes, allowLast       bool
	everything, dryRun, yes, gc bool
	args                        []string
	ruled                       bool // a --keep-… flag was given
	collect                     repo.GCOptions
}

func (a *app) forgetCommand() *cobra.Command {
	o := forgetFlags{collect: everything()}
	c := &cobra.Command{
		Use:   "forget [SOURCE|SNAP…]",
		Short: "Forget snapshots that are not to be kept any longer",
		Long: `Forget snapshots: of all sources or of those named, what a rule does not keep;
or the snapshots named. The rule is what the --keep-… flags say, and without one
the policy of the repository, by source and kind ("vaultfs policy show").

A forgotten snapshot is listed, mounted and restored no more, and cannot be brought
back; what is open in a mount or being restored stays readable to its end. Its space
is not free yet: "vaultfs gc" finds out what of it no other snapshot needs, and
frees that. --gc does it right after.

A snapshot stays if any part of the rule keeps it. --keep-daily 7 keeps the newest
snapshot of each of the last seven days that have one: days without a backup do
not count, and a machine that was off for a month loses nothing. Days, weeks and
so on are those of this host's time zone. Of a source these stay whatever the rule
says, unless --allow-last is given: the last snapshot, the one with the latest
time, the newest that was verified, and, if something of the source could not be
read for the last one, the newest that is whole. No snapshot is forgotten for the
sake of another in which verify has found damage.

Times are not trusted blindly. A snapshot makes another one superfluous only if
it came after it, has a later time, and that time is in order: not in the future,
and not before that of one which was there already. So neither a wrong clock nor
somebody who may only add snapshots can make genuine ones be forgotten by forged
times; what is in doubt is kept longer. Only --keep-last counts snapshots (the
last that were made, and those with the latest times), and can be used up by
whoever may add some; --keep-within cannot. Archives that were imported in another
order than they were made are in doubt, too: --trust-times believes their times.

SOURCE@DATE and SOURCE@TIME mean, here, the only snapshot of that day or time, and
never an older one.

--dry-run prints what would be done, with the reason for each snapshot that stays.
Without a terminal, as under cron, or with --yes or --json, nothing is asked.

With --json one line {"event":"plan",…} has the decision about each snapshot with
its reasons, and, unless it is a dry run, one line {"event":"forgotten",…} the IDs
of those that are forgotten now; --gc adds that of "vaultfs gc".

Exit status: 0 also if nothing was to be forgotten; 3 if some were forgotten and
then something failed; 4 if a snapshot cannot be read.`,
		Example: `  vaultfs forget --dry-run
  vaultfs forget --gc
  vaultfs forget vm/win11 --keep-daily 14 --keep-monthly 6 --keep-tag gold
  vaultfs forget --keep-within 30d --keep-monthly 12 --keep-yearly 5
  vaultfs forget vm/win11@2026-11-21 3f2a91c0
  vaultfs forget vm/old --everything --allow-last --gc`,
		Args: cobra.ArbitraryArgs,
		RunE: func(c *cobra.Command, args []string) error {
			if err := o.complete(c, args); err != nil {
				return err
			}
			a.upkeep = true
			return a.withRepo(c.Context(), func(r *repo.Repo) error { return a.forget(c.Context(), r, &o) })
		},
		ValidArgsFunction: a.completeForget,
	}
	f := c.Flags()
	addKeepFlags(f, &o.rule)
	f.BoolVar(&o.trustTimes, "trust-times", false, "believe the times of snapshots, in whatever order they were made")
	f.BoolVar(&o.allowLast, "allow-last", false, "forget even the last snapshot of a source, the newest verified and the newest whole one")
	f.BoolVar(&o.everything, "everything", false, "forget all snapshots of the named sources; needs --allow-last")
	f.BoolVarP(&o.dryRun, "dry-run", "n", false, "print what would be done and change nothing")
	f.BoolVarP(&o.yes, "yes", "y", false, "do not ask")
	f.BoolVar(&o.gc, "gc", false, "free the space right after, as vaultfs gc does")
	for _, name := range keepFlagNames {
		_ = c.RegisterFlagCompletionFunc(name, cobra.NoFileCompletions)
	}
	return c
}

// complete finds out what the flags mean, and refuses what does not go together.
func (o *forgetFlags) complete(c *cobra.Command, args []string) error {
	o.args = args
	for _, name := range keepFlagNames {
		o.ruled = o.ruled || c.Flags().Changed(name)
	}
	switch {
	case o.ruled && o.everything:
		return usage(c, "--everything keeps nothing, and the --keep-… flags say what to keep")
	case o.everything && len(args) == 0:
		return usage(c, "--everything is for sources that are named")
	case o.everything && !o.allowLast:
		return usage(c, "--everything forgets the last snapshot, too: say so with --allow-last")
	}
	o.rule.Tags = sortedTags(o.rule.Tags)
	return nil
}

func sortedTags(tags []string) []string {
	return slices.Compact(slices.Sorted(slices.Values(tags)))
}

// A forgetPlan is what is to be forgotten.
type forgetPlan struct {
	sources []*sourcePlan
	named   []*repo.Snapshot
}

// forgotten are all snapshots that are to be forgotten.
func (p *forgetPlan) forgotten() (list []*repo.Snapshot) {
	for _, s := range p.sources {
		list = append(list, s.forgotten()...)
	}
	return append(list, p.named...)
}

func (a *app) forget(ctx context.Context, r *repo.Repo, o *forgetFlags) error {
	plan, damaged, err := a.planForget(ctx, r, o)
	if err != nil {
		return err
	}
	if damaged != nil {
		a.print.warn(damaged.Error() + "; what cannot be read is not forgotten")
	}
	a.print.forgetPlan(plan, o.dryRun)
	if list := plan.forgotten(); len(list) > 0 && !o.dryRun {
		agreed, err := a.mayForget(ctx, o, len(list))
		if err != nil {
			return err
		}
		if !agreed {
			return damageStatus(damaged)
		}
		if err := a.applyForget(ctx, r, o, plan); err != nil {
			return err
		}
	} else if a.print.json && !o.dryRun {
		a.print.forgot(nil, o.gc)
	}
	if o.gc && !o.dryRun {
		err = a.collectAfter(ctx, r, o.collect)
	}
	if err == nil {
		err = damageStatus(damaged)
	}
	return err
}

// collectAfter collects after something was forgotten. That this fails must not be
// taken for a failure to forget.
func (a *app) collectAfter(ctx context.Context, r *repo.Repo, o repo.GCOptions) error {
	err := a.collect(ctx, r, o)
	var told *statusError
	if err == nil || errors.As(err, &told) || errors.Is(err, repo.ErrDamaged) || !a.print.committed {
		return err
	}
	return &statusError{statusPartial, forgetError(err)}
}

// damageStatus is the exit status of who met damage that was told already.
func damageStatus(damaged error) error {
	if damaged == nil {
		return nil
	}
	return &statusError{status: statusDamage}
}

// mayForget asks, where there is somebody to answer.
func (a *app) mayForget(ctx context.Context, o *forgetFlags, n int) (bool, error) {
	if o.yes || a.print.json || !a.canAsk() {
		return true, nil
	}
	question := fmt.Sprintf("Forget %d snapshots? They cannot be brought back.", n)
	if n == 1 {
		question = "Forget 1 snapshot? It cannot be brought back."
	}
	agreed, err := a.confirm(ctx, question)
	if err == nil && !agreed {
		a.print.remark("nothing was changed\n")
	}
	return agreed, err
}

// planForget decides what is forgotten. What damage there is of manifests is
// told beside: of what cannot be read nothing is known, and it stays.
func (a *app) planForget(ctx context.Context, r *repo.Repo, o *forgetFlags) (plan *forgetPlan, damaged, err error) {
	all, damaged := r.Snapshots(ctx)
	if damaged != nil && (len(all) == 0 || !errors.Is(damaged, repo.ErrDamaged) || errors.Is(damaged, repo.ErrNewerFormat)) {
		return nil, nil, damaged
	}
	k, err := a.newKeeper(ctx, r)
	if err != nil {
		return nil, nil, err
	}
	k.options.TrustTimes, k.allowLast = o.trustTimes, o.allowLast
	if o.ruled {
		k.byRule(o.rule, "the command line")
	} else if err := k.byPolicy(ctx, r); err != nil {
		return nil, nil, err
	}
	plan = new(forgetPlan)
	groups, named, err := o.choose(ctx, r, all)
	if err != nil {
		return nil, nil, err
	}
	for _, g := range groups {
		p, err := k.plan(g)
		if errors.Is(err, retention.ErrKeepsNothing) {
			return nil, nil, &statusError{statusUsage, fmt.Errorf("%w: say with --keep-… what to keep", err)}
		}
		if err != nil {
			return nil, nil, err
		}
		plan.sources = append(plan.sources, p)
	}
	plan.named = named
	return plan, damaged, k.checkNamed(all, plan)
}

// shortestID is how many digits of an ID it takes to forget a snapshot: fewer are
// rather a number that somebody took for something else.
const shortestID = 4

// choose sorts the arguments into sources, of which all snapshots are returned
// that are not named, and snapshots.
func (o *forgetFlags) choose(ctx context.Context, r *repo.Repo, all []*repo.Snapshot) (groups [][]*repo.Snapshot, named []*repo.Snapshot, err error) {
	if len(o.args) == 0 {
		return bySource(all), nil, nil
	}
	chosen, isNamed := map[string]bool{}, map[string]bool{}
	for _, arg := range o.args {
		mine, missing := ofSource(all, arg, nil)
		switch {
		case missing == nil && o.everything:
			for _, s := range mine {
				isNamed[s.ID] = true
			}
		case missing == nil && !chosen[arg]:
			chosen[arg] = true
			groups = append(groups, mine)
		case missing != nil:
			s, err := r.ResolveExact(ctx, arg)
			if err != nil {
				return nil, nil, err
			}
			if len(arg) < shortestID && strings.HasPrefix(s.ID, strings.ToLower(arg)) {
				return nil, nil, &statusError{statusUsage, fmt.Errorf("%s is the beginning of an ID, but to forget a snapshot give %d digits or more; "+
					"to keep a number of snapshots, say --keep-last %[1]s", arg, shortestID)}
			}
			if o.ruled || o.everything {
				return nil, nil, &statusError{statusUsage, fmt.Errorf("%s is a snapshot of %s: rules are for sources", arg, s.Source)}
			}
			isNamed[s.ID] = true
		}
	}
	for _, s := range all {
		if isNamed[s.ID] {
			named = append(named, s)
		}
	}
	return without(groups, isNamed), named, nil
}

// without leaves snapshots out that are forgotten by name: by a rule, they must
// not make others superfluous.
func without(groups [][]*repo.Snapshot, named map[string]bool) (rest [][]*repo.Snapshot) {
	for _, g := range groups {
		g = slices.DeleteFunc(g, func(s *repo.Snapshot) bool { return named[s.ID] })
		if len(g) > 0 {
			rest = append(rest, g)
		}
	}
	return rest
}

// checkNamed refuses to forget by name what is protected.
func (k *keeper) checkNamed(all []*repo.Snapshot, plan *forgetPlan) error {
	if k.allowLast {
		return nil
	}
	gone := map[string]bool{}
	for _, s := range plan.forgotten() {
		gone[s.ID] = true
	}
	for _, mine := range bySource(all) {
		why := k.protected(mine, gone)
		if why != "" {
			return fmt.Errorf("%s: nothing was forgotten; --allow-last forgets it all the same", why)
		}
	}
	return nil
}

// protected says which snapshot of a source would go that must not.
func (k *keeper) protected(mine []*repo.Snapshot, gone map[string]bool) string {
	var verified, whole *repo.Snapshot
	left, leftWhole := 0, 0
	for _, s := range mine {
		if !gone[s.ID] {
			left++
		}
		if k.verified(s) && (verified == nil || s.Seq >= verified.Seq) {
			verified = s
		}
		if !partial(s) {
			whole = s
			if !gone[s.ID] {
				leftWhole++
			}
		}
	}
	switch {
	case left == 0 && len(mine) == 1:
		return fmt.Sprintf("%s is the last snapshot of %s", mine[0].Short(), mine[0].Source)
	case left == 0:
		return fmt.Sprintf("these are the last %d snapshots of %s", len(mine), mine[0].Source)
	case verified != nil && gone[verified.ID]:
		return fmt.Sprintf("%s is the newest snapshot of %s that was verified", verified.Short(), verified.Source)
	case whole != nil && leftWhole == 0:
		return fmt.Sprintf("%s is the last whole snapshot of %s: of the others something could not be read", whole.Short(), whole.Source)
	}
	return ""
}

// applyForget forgets what the plan says, if it is still so: meanwhile others may
// have forgotten something, or made new snapshots.
func (a *app) applyForget(ctx context.Context, r *repo.Repo, o *forgetFlags, plan *forgetPlan) (err error) {
	release, err := r.DecideAlone(ctx)
	if err != nil {
		return forgetError(err)
	}
	defer func() { err = errors.Join(err, release()) }()
	now, _, err := a.planForget(ctx, r, o)
	if err != nil {
		return err
	}
	still := map[string]bool{}
	for _, s := range now.forgotten() {
		still[s.ID] = true
	}
	part := func(list []*repo.Snapshot) []*repo.Snapshot {
		return slices.DeleteFunc(slices.Clone(list), func(s *repo.Snapshot) bool { return !still[s.ID] })
	}
	done, err := markForgotten(ctx, r, repo.ForgotByName, part(plan.named))
	for _, p := range plan.sources {
		if err != nil {
			break
		}
		var more []*repo.Snapshot
		more, err = markForgotten(ctx, r, repo.ForgotByPolicy, part(p.forgotten()))
		done = append(done, more...)
	}
	if len(done) > 0 || err == nil {
		a.print.committed = true
		a.print.forgot(done, o.gc)
	}
	if err != nil && len(done) > 0 {
		return &statusError{statusPartial, err}
	}
	return err
}

func (a *app) completeForget(c *cobra.Command, _ []string, typed string) (found []string, _ cobra.ShellCompDirective) {
	a.peek(c, func(r *repo.Repo) {
		all, _ := r.Snapshots(c.Context())
		found = starting(references(all), typed)
	})
	return found, noFiles
}
