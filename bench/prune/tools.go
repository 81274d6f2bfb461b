package main

import (
	"fmt"
	"path/filepath"

	"vaultfs/bench/peers"
)

// A tool is one of the programs that are compared, with a repository.
type tool struct {
	peers.Peer
	dir   string // of the repository and of the tool's cache
	ways  []way
	check []string
}

// A way is one way of forgetting and collecting.
type way struct {
	name     string
	commands [][]string
}

// in is the tool with its repository in another directory.
func (t tool) in(dir string) tool {
	t.dir, t.Peer = dir, t.At(dir)
	return t
}

// source is what both back up.
func (c *comparison) source(path string) peers.Source {
	s := peers.Source{Kind: peers.Disk, Path: path, Label: "bench"}
	if c.kind == "files" {
		s.Kind = peers.Tree
	}
	return s
}

func newRestic(c *comparison) tool {
	keep := fmt.Sprint(c.keep)
	return tool{
		Peer: peers.Restic(c.restic),
		ways: []way{
			{"forget + prune", [][]string{{"forget", "--keep-last", keep, "--prune"}}},
			{"the same, max-unused 0", [][]string{{"forget", "--keep-last", keep, "--prune", "--max-unused", "0"}}},
		},
		check: []string{"check"},
	}.in(filepath.Join(c.dir, "restic"))
}

func newVaultfs(c *comparison) tool {
	forget := []string{"forget", "--keep-last", fmt.Sprint(c.keep), "--yes"}
	return tool{
		Peer: peers.Vaultfs(c.vaultfs),
		ways: []way{
			{"forget --gc", [][]string{append(forget, "--gc")}},
			{"the same, max-unused 0", [][]string{forget, {"gc", "--max-unused", "0%"}}},
		},
		check: []string{"verify"},
	}.in(filepath.Join(c.dir, "vaultfs"))
}
