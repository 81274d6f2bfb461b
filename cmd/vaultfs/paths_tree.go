package main

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"vaultfs/repo"
)

// A treePlace is a file or a directory of a stored tree.
type treePlace struct {
	item  repo.Item
	tree  *repo.Tree
	entry *repo.Entry
	path  string // in the tree, without a slash at its ends; "" for its root
}

// shown is the path within the snapshot, as the mount shows it: that of what is
// below in the tree.
func (p *treePlace) shown(below string) string {
	path := joined(p.path, below)
	if p.item.Name == repo.WholeTree {
		return path
	}
	return joined(p.item.Name, path)
}

func joined(dir, name string) string {
	if dir == "" || name == "" {
		return dir + name
	}
	return dir + "/" + name
}

// findInTree returns what a path of a snapshot names in one of its trees, and nil
// if it leads into none. No symbolic link is followed.
func findInTree(ctx context.Context, r *repo.Repo, s *repo.Snapshot, path string) (*treePlace, error) {
	it, path := treeOf(s, path)
	if it == nil {
		return nil, nil
	}
	t, err := r.OpenTree(ctx, *it)
	if err != nil {
		return nil, err
	}
	e, err := t.Find(ctx, path)
	if errors.Is(err, repo.ErrNotFound) {
		return nil, missing(ctx, s, &treePlace{item: *it, tree: t}, path)
	}
	if err != nil {
		return nil, err
	}
	return &treePlace{*it, t, e, path}, nil
}

// treeOf finds the tree that a path leads into, nil if there is none, and the
// path in it.
func treeOf(s *repo.Snapshot, path string) (it *repo.Item, below string) {
	path = cleaned(path)
	for i := range s.Items {
		it := &s.Items[i]
		if it.Kind != repo.ItemTree {
			continue
		}
		if it.Name == repo.WholeTree {
			return it, path
		}
		if below, ok := strings.CutPrefix(path+"/", it.Name+"/"); ok {
			return it, strings.TrimSuffix(below, "/")
		}
	}
	return nil, ""
}

// cleaned is a path without empty components and ".".
func cleaned(path string) string {
	var names []string
	for name := range strings.SplitSeq(path, "/") {
		if name != "" && name != "." {
			names = append(names, name)
		}
	}
	return strings.Join(names, "/")
}

// missing says how far a path that is not in a tree leads.
func missing(ctx context.Context, s *repo.Snapshot, in *treePlace, path string) error {
	dir, at := in.tree.Root(), ""
	whole := fmt.Sprintf("snapshot %s holds no %q", s.Short(), in.shown(path))
	for name := range strings.SplitSeq(path, "/") {
		e, err := in.tree.Lookup(ctx, dir, name)
		switch {
		case errors.Is(err, repo.ErrNotFound):
			return fmt.Errorf("%s; %s", whole, heldBy(ctx, in.tree, dir, in.shown(at)))
		case err != nil:
			return err
		}
		at = joined(at, name)
		if e.IsSymlink() {
			return fmt.Errorf("%s: %q is a symbolic link to %q; name the path that it leads to", whole, in.shown(at), e.Target)
		}
		if !e.IsDir() {
			return fmt.Errorf("%s: %q is not a directory", whole, in.shown(at))
		}
		dir = e
	}
	return errors.New(whole)
}

// heldBy tells what is in a directory, for someone who mistyped a name.
func heldBy(ctx context.Context, t *repo.Tree, dir *repo.Entry, at string) string {
	var names []string
	for e, err := range t.Entries(ctx, dir, "") {
		if err != nil || len(names) > mostListed {
			break
		}
		names = append(names, e.Name)
	}
	where := "it"
	if at != "" {
		where = fmt.Sprintf("%q", at)
	}
	if len(names) == 0 {
		return where + " is empty"
	}
	return where + " holds " + listed(names)
}
