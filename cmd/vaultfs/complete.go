package main

import (
	"context"
	"strings"
	"unicode/utf8"

	"github.com/spf13/cobra"
	"vaultfs/ingest/vm"
	"vaultfs/repo"
	"vaultfs/restore"
)

// Completion of what is in the repository needs the password. It never asks for
// it: where none is given in another way there are no suggestions.

const (
	noFiles = cobra.ShellCompDirectiveNoFileComp
	noSpace = cobra.ShellCompDirectiveNoSpace
)

func completeFiles(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
	return nil, cobra.ShellCompDirectiveDefault
}

func completeDirs(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
	return nil, cobra.ShellCompDirectiveFilterDirs
}

// peek opens the repository if that takes no question, and is silent about
// everything that goes wrong.
func (a *app) peek(c *cobra.Command, f func(*repo.Repo)) {
	st, err := a.openStore()
	if err != nil {
		return
	}
	defer st.Close()
	password, err := a.password.get(c.Context())
	if err != nil {
		return
	}
	r, err := repo.Open(c.Context(), st, repo.OpenOptions{Password: password, CacheDir: a.indexCache()})
	if err != nil {
		return
	}
	defer r.Close()
	f(r)
}

// starting keeps what goes on from what was typed; a tab and a description may
// follow each word.
func starting(words []string, typed string) (found []string) {
	for _, w := range words {
		if strings.HasPrefix(w, typed) {
			found = append(found, w)
		}
	}
	return found
}

func (a *app) completeSources(c *cobra.Command, args []string, typed string) (found []string, _ cobra.ShellCompDirective) {
	if len(args) == 0 {
		a.peek(c, func(r *repo.Repo) {
			all, _ := r.Snapshots(c.Context())
			found = starting(sources(all), typed)
		})
	}
	return found, noFiles
}

func (a *app) completeSessions(c *cobra.Command, _ []string, typed string) (found []string, _ cobra.ShellCompDirective) {
	a.peek(c, func(r *repo.Repo) {
		all, _ := r.Sessions(c.Context())
		for _, s := range all {
			found = append(found, shortSession(s.ID)+"\t"+oneLine(s.Purpose))
		}
	})
	return starting(found, typed), noFiles
}

func (a *app) completeSnapshots(c *cobra.Command, args []string, typed string) (found []string, _ cobra.ShellCompDirective) {
	if len(args) == 0 || c.Name() == "verify" {
		a.peek(c, func(r *repo.Repo) {
			all, _ := r.Snapshots(c.Context())
			found = starting(references(all), typed)
		})
	}
	return found, noFiles
}

// references lists how the snapshots can be named: sources, sources with a
// time, and IDs.
func references(all []*repo.Snapshot) (words []string) {
	words = sources(all)
	for _, s := range all {
		stamp := s.Time.UTC().Format("2006-01-02T15-04-05Z")
		words = append(words, s.Source+"@"+stamp, s.Short()+"\t"+s.Source+" "+localTime(s.Time))
	}
	return words
}

func (a *app) completePaths(c *cobra.Command, args []string, typed string) (found []string, directive cobra.ShellCompDirective) {
	ref, path, inside := strings.Cut(typed, ":")
	if len(args) > 0 || !inside {
		found, directive := a.completeSnapshots(c, args, typed)
		return found, directive | noSpace
	}
	directive = noFiles
	a.peek(c, func(r *repo.Repo) {
		s, err := r.Resolve(c.Context(), ref)
		if err != nil {
			return
		}
		var words []string
		for _, e := range entriesOf(s) {
			words = append(words, ref+":"+e.path)
		}
		if archive, err := restore.ArchiveName(c.Context(), r, s); err == nil && archive != "" {
			words = append(words, ref+":"+archive)
		}
		found = starting(words, typed)
		for _, name := range completeInTree(c.Context(), r, s, path) {
			found = append(found, ref+":"+name)
			if strings.HasSuffix(name, "/") {
				directive = noFiles | noSpace
			}
		}
	})
	return found, directive
}

// mostSuggested paths are suggested of a directory.
const mostSuggested = 1000

// completeInTree lists the paths in the trees of a snapshot that go on from what
// was typed, up to the next slash. Names that cannot be typed are left out.
func completeInTree(ctx context.Context, r *repo.Repo, s *repo.Snapshot, typed string) (paths []string) {
	dir, name := "", typed
	if i := strings.LastIndexByte(typed, '/'); i >= 0 {
		dir, name = typed[:i+1], typed[i+1:]
	}
	place, err := findInTree(ctx, r, s, dir)
	if err != nil || place == nil || !place.entry.IsDir() {
		return nil
	}
	add := func(e *repo.Entry) {
		path := dir + e.Name
		if e.IsDir() {
			path += "/"
		}
		if utf8.ValidString(path) && oneLine(path) == path {
			paths = append(paths, path)
		}
	}
	if name != "" {
		if e, err := place.tree.Lookup(ctx, place.entry, name); err == nil {
			add(e)
		}
	}
	for e, err := range place.tree.Entries(ctx, place.entry, name) {
		if err != nil || !strings.HasPrefix(e.Name, name) || len(paths) == mostSuggested {
			break
		}
		add(e)
	}
	return paths
}

func (a *app) completeKeys(c *cobra.Command, args []string, typed string) (found []string, _ cobra.ShellCompDirective) {
	if len(args) == 0 {
		a.peek(c, func(r *repo.Repo) {
			keys, _ := r.Keys(c.Context())
			for _, k := range keys {
				found = append(found, k.ID+"\t"+k.Label)
			}
			found = starting(found, typed)
		})
	}
	return found, noFiles
}

// completeVMs suggests the VMs of a libvirt URI that are not named yet.
func completeVMs(uri *string) cobra.CompletionFunc {
	return func(c *cobra.Command, args []string, typed string) (found []string, _ cobra.ShellCompDirective) {
		domains, err := vm.List(c.Context(), *uri)
		if err != nil {
			return nil, noFiles
		}
		named := map[string]bool{}
		for _, name := range args {
			named[name] = true
		}
		for _, d := range domains {
			if !named[d.Name] {
				found = append(found, d.Name+"\t"+d.State)
			}
		}
		return starting(found, typed), noFiles
	}
}
