package main

import (
	"testing"

	"vaultfs/repo"
)

func TestAmounts(t *testing.T) {
	for word, want := range map[string]int64{
		"0": 0, "1000": 1000, "500M": 500 << 20, "500 MiB": 500 << 20, "1.5g": 3 << 29, "2KB": 2048, "3b": 3, "1E": 1 << 60,
	} {
		if got, err := parseAmount(word); err != nil || got != want {
			t.Errorf("%q is %d, %v", word, got, err)
		}
	}
	for _, word := range []string{"", "M", "-1", "1.2.3", "9E", "1T5", "NaN", "Inf", "iB"} {
		if got, err := parseAmount(word); err == nil {
			t.Errorf("%q is %d", word, got)
		}
	}
	var v float64
	for word, want := range map[string]float64{"5%": 0.05, "0": 0, "100 %": 1, "12.5": 0.125} {
		if err := (share{&v}).Set(word); err != nil || v != want {
			t.Errorf("%q is %g, %v", word, v, err)
		}
	}
	for _, word := range []string{"", "%", "-1%", "101%", "NaN", "five"} {
		if err := (share{&v}).Set(word); err == nil {
			t.Errorf("%q is %g", word, v)
		}
	}
}

func TestCollectionSentence(t *testing.T) {
	for want, c := range map[string]repo.GCResult{
		"freed 0 B in 0s: nothing had to be removed":                                                      {},
		"freed 2.0 KiB in 0s: 1 pack removed":                                                             {Freed: 2048, Packs: 1},
		"freed 7.2 KiB in 0s: no pack had to be removed, 92 B written":                                    {Freed: 7373, Written: 92},
		"freed 1.0 MiB in 0s: 3 packs and 2 forgotten snapshots removed, 5 B written":                     {Freed: 1 << 20, Packs: 3, Manifests: 2, Written: 5},
		"freed nothing, it takes 1.0 KiB more for now, in 0s: nothing had to be removed, 1.0 KiB written": {Freed: -1024, Written: 1024},
	} {
		if got := (collection{GCResult: &c}).sentence(); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}
