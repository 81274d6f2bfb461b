package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	"vaultfs/bench"
)

// A measurer runs commands of the program on one repository, with a cache of its
// own, and prints a line of a table for each.
type measurer struct {
	program, repo, cache string
	env                  []string
}

// measure prints what commands take on a large repository: those that only read
// on the repository itself, a collection on a copy beside it.
func measure(ctx context.Context, program, repo, password string) error {
	cache, err := os.MkdirTemp(filepath.Dir(repo), "cache-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(cache)
	m := measurer{program, repo, cache, []string{"VAULTFS_PASSWORD=" + password}}
	fmt.Print("| | wall s | CPU s | peak MB |\n|---|---|---|---|\n")
	if err := m.reading(ctx); err != nil {
		return err
	}
	return m.collecting(ctx)
}

func (m measurer) reading(ctx context.Context) error {
	file := filepath.Join(m.cache, "file")
	for _, c := range []command{
		{"open, first time (makes the local copy of the index)", []string{"ls", "tree/big-000@latest:dir-000001"}},
		{"open again, list a directory", []string{"ls", "tree/big-000@latest:dir-000001"}},
		{"restore a file", []string{"restore", "tree/big-000@latest:dir-000001/file-0001", "--to", file}},
		{"snapshots", []string{"snapshots"}},
		{"status", []string{"status"}},
		{"verify (structure)", []string{"verify"}},
	} {
		if err := m.tell(ctx, c); err != nil {
			return err
		}
	}
	if err := bench.Evict(m.repo); err != nil {
		return err
	}
	if err := m.tell(ctx, command{"gc --dry-run, nothing of the repository in memory", []string{"gc", "--dry-run"}}); err != nil {
		return err
	}
	return m.tell(ctx, command{"gc --dry-run, again", []string{"gc", "--dry-run"}})
}

func (m measurer) collecting(ctx context.Context) error {
	full := m.repo
	m.repo += ".copy"
	defer os.RemoveAll(m.repo)
	if err := bench.Copy(ctx, full, m.repo); err != nil {
		return err
	}
	if err := m.size(); err != nil {
		return err
	}
	for _, c := range []command{
		{"forget --keep-last 10 of each source", []string{"forget", "--keep-last", "10", "--yes"}},
		{"gc --dry-run", []string{"gc", "--dry-run"}},
		{"gc", []string{"gc"}},
		{"verify (structure)", []string{"verify"}},
		{"gc --dry-run with nothing to do", []string{"gc", "--dry-run"}},
	} {
		if err := m.tell(ctx, c); err != nil {
			return err
		}
	}
	return m.size()
}

type command struct {
	name string
	args []string
}

func (m measurer) tell(ctx context.Context, c command) error {
	bench.Settle()
	u, err := bench.Run(ctx, m.env, m.program, append([]string{"--repo", m.repo, "--cache-dir", m.cache}, c.args...)...)
	if err == nil {
		fmt.Printf("| %s | %.1f | %.1f | %.0f |\n", c.name, u.Wall.Seconds(), u.CPU.Seconds(), float64(u.Peak)/1e6)
	}
	return err
}

func (m measurer) size() error {
	n, err := bench.DiskUsage(m.repo)
	if err == nil {
		fmt.Printf("| repository: %.0f MB | | | |\n", float64(n)/1e6)
	}
	return err
}
