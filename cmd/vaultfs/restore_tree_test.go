package main

import (
	"errors"
	"testing"

	"vaultfs/restore/tree"
)

// Of the results of several trees the exit status is that of the worst.
func TestWorse(t *testing.T) {
	partial := &statusError{statusPartial, nil}
	damage := &statusError{statusDamage, errors.New("damage")}
	failed := errors.New("failed")
	a := new(app)
	for _, c := range []struct {
		one, other error
		status     int
		sentence   string
	}{
		{nil, nil, statusDone, ""}, {partial, nil, statusPartial, ""}, {partial, partial, statusPartial, ""},
		{partial, damage, statusDamage, "damage"}, {partial, failed, statusFailed, "failed"},
		{damage, failed, statusDamage, "damage\nfailed"},
	} {
		for _, err := range []error{worse(c.one, c.other), worse(c.other, c.one)} {
			sentence, status := a.explain(err)
			if status != c.status || len(sentence) != len(c.sentence) {
				t.Errorf("%v and %v: status %d, %q", c.one, c.other, status, sentence)
			}
		}
	}
}

// A script gets a name back whatever its bytes are.
func TestLossesJSON(t *testing.T) {
	first := []tree.Case{{Path: "a\xff", Err: errors.New("no")}, {Path: "b", Err: errors.New("no")}}
	got := jsonLine(toLossesJSON([]tree.Failure{{Loss: tree.OwnerLost, Count: 7, First: first}}))
	want := `[{"what":"owners not set","count":7,"first":[{"path":"a\ufffd","path_bytes":"Yf8=","reason":"no"},{"path":"b","reason":"no"}]}]` + "\n"
	if got != want {
		t.Errorf("%s, want %s", got, want)
	}
}
