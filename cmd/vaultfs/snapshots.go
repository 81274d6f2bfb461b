package main

import (
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"vaultfs/repo"
)

func (a *app) snapshotsCommand() *cobra.Command {
	var tags []string
	c := &cobra.Command{
		Use:   "snapshots [SOURCE]",
		Short: "List the snapshots",
		Long: `List the snapshots of the repository, or of one source, oldest first.

SIZE is that of the items, NEW what of it the repository did not hold before,
and STORED what the snapshot added to the repository: compressed, and with
keys and maps. VERIFIED tells whether what was written was read back before the
snapshot was committed; "vaultfs show" has the details. Forgotten snapshots are
not listed.

A snapshot whose manifest is damaged is reported and does not hide the others;
the exit status is then 4.`,
		Example: `  vaultfs snapshots
  vaultfs snapshots vm/win11
  vaultfs snapshots --tag gold
  vaultfs snapshots --json | jq -r '.[].id'`,
		Args: between(0, 1),
		RunE: func(c *cobra.Command, args []string) error {
			return a.withRepo(c.Context(), func(r *repo.Repo) error {
				all, err := r.Snapshots(c.Context())
				if err != nil && len(all) == 0 {
					return err
				}
				if len(args) == 1 {
					if all, err = ofSource(all, args[0], err); all == nil {
						return err
					}
				}
				if all = withTags(all, tags); len(all) == 0 && len(tags) > 0 && !a.print.json {
					a.print.remark("no snapshot has the tag %s\n", strings.Join(tags, " and the tag "))
					return err
				}
				a.print.snapshots(all)
				return err
			})
		},
		ValidArgsFunction: a.completeSources,
	}
	c.Flags().Var(tagsFlag{&tags}, "tag", "only those that have the `TAG`; if it is repeated, all of them")
	_ = c.RegisterFlagCompletionFunc("tag", cobra.NoFileCompletions)
	return c
}

// withTags keeps the snapshots that have all of the tags.
func withTags(all []*repo.Snapshot, tags []string) (tagged []*repo.Snapshot) {
	for _, s := range all {
		if !slices.ContainsFunc(tags, func(tag string) bool { return !slices.Contains(s.Tags, tag) }) {
			tagged = append(tagged, s)
		}
	}
	return tagged
}

// ofSource keeps the snapshots of one source, of which there must be some.
func ofSource(all []*repo.Snapshot, source string, damage error) ([]*repo.Snapshot, error) {
	var mine []*repo.Snapshot
	for _, s := range all {
		if s.Source == source {
			mine = append(mine, s)
		}
	}
	if len(mine) > 0 || damage != nil {
		return mine, damage
	}
	known := "the repository holds no snapshot"
	if names := sources(all); len(names) > 0 {
		known = fmt.Sprintf("there are %s", listed(names))
	}
	return nil, fmt.Errorf("there is no snapshot of the source %s; %s", source, known)
}

// sources lists the names of the sources.
func sources(all []*repo.Snapshot) (names []string) {
	for _, s := range all {
		names = append(names, s.Source)
	}
	slices.Sort(names)
	return slices.Compact(names)
}
