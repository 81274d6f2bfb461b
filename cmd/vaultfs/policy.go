package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/spf13/cobra"
	"vaultfs/internal/retention"
	"vaultfs/repo"
)

func (a *app) policyCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "policy show|set",
		Short: "Show or set what snapshots are kept",
		Long: `Show or set the policy: which snapshots "vaultfs forget" and "vaultfs ingest
--forget" keep, and what "vaultfs status" warns of. It lies in the repository, so
that it is the same for all who use it.

There is a rule for all sources, and there may be others for a kind of source,
such as vm, or for one source, such as vm/win11. The most exact one applies, alone.`,
		Example: `  vaultfs policy show
  vaultfs policy set vm --keep-last 3 --keep-daily 14`,
		Args: cobra.ArbitraryArgs,
		RunE: groupRun,
	}
	c.AddCommand(a.policyShowCommand(), a.policySetCommand())
	return c
}

func (a *app) policyShowCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "show [KIND|SOURCE]",
		Short: "Show what snapshots are kept",
		Long: `Show the rules of the policy, or the one that applies to a kind of source or a
source.`,
		Example: `  vaultfs policy show
  vaultfs policy show vm/win11`,
		Args: between(0, 1),
		RunE: func(c *cobra.Command, args []string) error {
			return a.withRepo(c.Context(), func(r *repo.Repo) error {
				rules, set, err := r.Policy(c.Context())
				if err != nil {
					return err
				}
				if len(args) == 1 {
					kind, err := kindOf(c.Context(), r, args[0])
					if err != nil {
						return err
					}
					rules = []repo.PolicyRule{repo.RuleFor(rules, kind, args[0])}
				}
				a.print.policy(rules, set)
				return nil
			})
		},
		ValidArgsFunction: a.completePolicy,
	}
}

// kindOf is the kind of a source; "" if there is no such source.
func kindOf(ctx context.Context, r *repo.Repo, source string) (string, error) {
	all, err := r.Snapshots(ctx)
	for _, s := range slices.Backward(all) {
		if s.Source == source {
			return s.Kind, nil
		}
	}
	if len(all) > 0 {
		err = nil
	}
	return "", err
}

// policyFlags are the flags of policy set.
type policyFlags struct {
	rule              retention.Rule
	maxAge, maxUnread time.Duration
	byDefault         bool
	ruled             bool // a --keep-… flag was given
}

func (a *app) policySetCommand() *cobra.Command {
	var o policyFlags
	c := &cobra.Command{
		Use:   "set [KIND|SOURCE]",
		Short: "Set what snapshots are kept",
		Long: `Set the rule for a kind of source, such as vm, for one source, such as vm/win11, or
for all that have none of their own. What the --keep-… flags say replaces what the
rule kept before; a rule must keep something. Nothing is forgotten by setting it:
"vaultfs forget --dry-run" shows what would be.

--max-age and --max-unread say when "vaultfs status" warns: of a source whose
newest snapshot is older, and, in the rule for all, of packs that "vaultfs verify"
has not read for so long. 0d is for no such warning.

--default takes a rule back, so that the less exact one applies; without KIND or
SOURCE, all rules: then the policy is what it was at first.`,
		Example: `  vaultfs policy set --keep-last 5 --keep-daily 7 --keep-weekly 4 --keep-monthly 12
  vaultfs policy set vm/win11 --keep-within 30d --keep-tag gold --max-age 36h
  vaultfs policy set vm/win11 --default
  vaultfs policy set --default`,
		Args: between(0, 1),
		RunE: func(c *cobra.Command, args []string) error {
			if err := o.check(c); err != nil {
				return err
			}
			name := ""
			if len(args) == 1 {
				name = args[0]
			}
			return a.withRepo(c.Context(), func(r *repo.Repo) error { return a.setPolicy(c, r, name, &o) })
		},
		ValidArgsFunction: a.completePolicy,
	}
	f := c.Flags()
	addKeepFlags(f, &o.rule)
	f.Var(keepFlag{&o.maxAge}, "max-age", "warn if the newest snapshot is older than `DURATION` (36h, 8d)")
	f.Var(keepFlag{&o.maxUnread}, "max-unread", "warn of packs that were not read for `DURATION`")
	f.BoolVar(&o.byDefault, "default", false, "take the rule back, or all rules")
	for _, name := range append([]string{"max-age", "max-unread"}, keepFlagNames...) {
		_ = c.RegisterFlagCompletionFunc(name, cobra.NoFileCompletions)
	}
	return c
}

func (o *policyFlags) check(c *cobra.Command) error {
	for _, name := range keepFlagNames {
		o.ruled = o.ruled || c.Flags().Changed(name)
	}
	given := o.ruled || c.Flags().Changed("max-age") || c.Flags().Changed("max-unread")
	switch {
	case o.byDefault && given:
		return usage(c, "--default takes a rule back, and the other flags set one")
	case !o.byDefault && !given:
		return usage(c, "what is to be kept? Say so with --keep-…")
	}
	return nil
}

func (a *app) setPolicy(c *cobra.Command, r *repo.Repo, name string, o *policyFlags) error {
	ctx := c.Context()
	rules, _, err := r.Policy(ctx)
	if errors.Is(err, repo.ErrDamaged) {
		a.print.warn(err.Error() + "; a new one is made, of the default")
		rules, err = repo.DefaultPolicy(), nil
	}
	if err != nil {
		return err
	}
	i := slices.IndexFunc(rules, func(r repo.PolicyRule) bool { return r.For == name })
	switch {
	case o.byDefault && name == "":
		rules = nil
	case o.byDefault && i < 0:
		return fmt.Errorf("there is no rule for %s", name)
	case o.byDefault:
		rules = slices.Delete(slices.Clone(rules), i, i+1)
	default:
		if rules, err = o.edited(c, r, rules, name); err != nil {
			return err
		}
	}
	if err := r.SetPolicy(ctx, rules); err != nil {
		return forgetError(err)
	}
	a.print.committed = true
	if !o.byDefault {
		a.warnOfUnused(ctx, r, name)
	}
	now, set, err := r.Policy(ctx)
	if err != nil {
		return err
	}
	a.print.policy(now, set)
	return nil
}

// warnOfUnused warns of a rule that applies to nothing, such as one whose name is
// mistyped.
func (a *app) warnOfUnused(ctx context.Context, r *repo.Repo, name string) {
	all, _ := r.Snapshots(ctx)
	used := slices.ContainsFunc(all, func(s *repo.Snapshot) bool { return name == "" || s.Source == name || s.Kind == name })
	if !used && len(all) > 0 {
		a.print.warn(fmt.Sprintf("no snapshot is of the source or kind %s yet; the rule is for those to come", name))
	}
}

// edited returns the rules with one changed, or made.
func (o *policyFlags) edited(c *cobra.Command, r *repo.Repo, rules []repo.PolicyRule, name string) ([]repo.PolicyRule, error) {
	kind, err := kindOf(c.Context(), r, name)
	if err != nil {
		return nil, err
	}
	rule := repo.RuleFor(rules, kind, name)
	if rule.For != name { // a new one has what it keeps from the one that applied
		rule.For, rule.MaxAge, rule.MaxUnread = name, 0, 0
	}
	if o.ruled {
		setRule(&rule, o.rule)
	}
	if rule.KeepsNothing() {
		return nil, &statusError{statusUsage, errors.New("the rule keeps nothing: say with --keep-… what to keep")}
	}
	if c.Flags().Changed("max-age") {
		rule.MaxAge = int64(o.maxAge / time.Second)
	}
	if c.Flags().Changed("max-unread") {
		if name != "" {
			return nil, &statusError{statusUsage, errors.New("--max-unread is for the whole repository: it stands in the rule for all, `vaultfs policy set --max-unread …`")}
		}
		rule.MaxUnread = int64(o.maxUnread / time.Second)
	}
	others := slices.DeleteFunc(slices.Clone(rules), func(r repo.PolicyRule) bool { return r.For == name })
	return append(others, rule), nil
}

func (a *app) completePolicy(c *cobra.Command, args []string, typed string) (found []string, _ cobra.ShellCompDirective) {
	if len(args) == 0 {
		a.peek(c, func(r *repo.Repo) {
			all, _ := r.Snapshots(c.Context())
			var names []string
			for _, s := range all {
				names = append(names, s.Kind)
			}
			slices.Sort(names)
			found = starting(append(slices.Compact(names), sources(all)...), typed)
		})
	}
	return found, noFiles
}
