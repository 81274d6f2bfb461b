package main

import (
	"errors"
	"slices"
	"testing"

	"vaultfs/bench/peers"
	"vaultfs/bench/report"
)

func names(list []*peer) (n []string) {
	for _, p := range list {
		n = append(n, p.Name())
	}
	return n
}

func TestEachRoundBeginsWithAnother(t *testing.T) {
	r := &run{res: new(report.Results), peers: []*peer{
		{Peer: peers.Vaultfs("v"), main: true}, {Peer: peers.Restic("r"), main: true},
		{Peer: peers.BorgZstd("b"), once: true}, {Peer: peers.Kopia("k"), main: true, optional: true},
	}}
	for i, want := range [][]string{
		{"vaultfs", "restic", "borg, zstd", "kopia"}, {"restic", "kopia", "vaultfs"}, {"kopia", "vaultfs", "restic"}, {"vaultfs", "restic", "kopia"},
	} {
		if got := names(r.turn(i+1, everyone)); !slices.Equal(got, want) {
			t.Errorf("round %d: %v, want %v", i+1, got, want)
		}
	}
	if err := r.pass(r.peers[1], errors.New("why")); err == nil {
		t.Error("a program that must be there may fail")
	}
	if err := r.pass(r.peers[3], errors.New("why\nmore")); err != nil || len(r.res.Remarks) != 1 {
		t.Errorf("%v, %q", err, r.res.Remarks)
	}
	if got, want := names(r.turn(2, mainOnes)), []string{"restic", "vaultfs"}; !slices.Equal(got, want) {
		t.Errorf("after a failure: %v, want %v", got, want)
	}
}

func TestRepositoriesHaveNamesOfTheirOwn(t *testing.T) {
	r := &run{work: "/w"}
	seen := map[string]bool{}
	for _, p := range []peers.Peer{peers.Vaultfs("v"), peers.VaultfsNoVerify("v"), peers.Borg("b"), peers.BorgZstd("b")} {
		if dir := r.repository(&peer{Peer: p}); seen[dir] {
			t.Errorf("%s twice", dir)
		} else {
			seen[dir] = true
		}
	}
}
