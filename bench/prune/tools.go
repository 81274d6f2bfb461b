package main

import (
	"context"
	"fmt"
	"path/filepath"
	"slices"

	"vaultfs/bench"
)

// A tool is one of the programs that are compared, with a repository.
type tool struct {
	name, program string
	dir           string // of the repository and of the tool's cache
	env           []string
	create        []string
	backup        func(source string) []string
	ways          []way
	check         []string
}

// A way is one way of forgetting and collecting.
type way struct {
	name     string
	commands [][]string
}

func (t tool) repo() string { return filepath.Join(t.dir, "repo") }

// run runs a command of the tool on its repository.
func (t tool) run(ctx context.Context, args []string) (bench.Usage, error) {
	global := []string{"--repo", t.repo(), "--cache-dir", filepath.Join(t.dir, "cache")}
	return bench.Run(ctx, t.env, t.program, slices.Concat(global, args)...)
}

const password = "bench"

func newRestic(c *comparison) tool {
	keep := fmt.Sprint(c.keep)
	return tool{
		name: "restic", program: c.restic, dir: filepath.Join(c.dir, "restic"),
		env:    []string{"RESTIC_PASSWORD=" + password},
		create: []string{"init"},
		backup: func(source string) []string { return []string{"backup", source} },
		ways: []way{
			{"forget + prune", [][]string{{"forget", "--keep-last", keep, "--prune"}}},
			{"the same, max-unused 0", [][]string{{"forget", "--keep-last", keep, "--prune", "--max-unused", "0"}}},
		},
		check: []string{"check"},
	}
}

func newVaultfs(c *comparison) tool {
	keep := fmt.Sprint(c.keep)
	backup := func(source string) []string {
		return []string{"ingest", "disk", source, "--name", "bench", "--format", "raw"}
	}
	if c.kind == "files" {
		backup = func(source string) []string { return []string{"ingest", "tree", source, "--name", "bench"} }
	}
	forget := []string{"forget", "--keep-last", keep, "--yes"}
	return tool{
		name: "vaultfs", program: c.vaultfs, dir: filepath.Join(c.dir, "vaultfs"),
		env:    []string{"VAULTFS_PASSWORD=" + password},
		create: []string{"init"},
		backup: backup,
		ways: []way{
			{"forget --gc", [][]string{append(forget, "--gc")}},
			{"the same, max-unused 0", [][]string{forget, {"gc", "--max-unused", "0%"}}},
		},
		check: []string{"verify"},
	}
}
