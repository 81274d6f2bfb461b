package repo_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"vaultfs/repo"
)

// at makes a snapshot with an ID that begins so.
func at(id, source string, seq uint64, when string) *repo.Snapshot {
	t, err := time.Parse(time.RFC3339, when)
	if err != nil {
		panic(err)
	}
	return &repo.Snapshot{ID: id + strings.Repeat("0", 32-len(id)), Source: source, Seq: seq, Time: t.UTC()}
}

func TestResolve(t *testing.T) {
	zone, err := time.LoadLocation("Europe/Berlin")
	if err != nil {
		t.Fatal(err)
	}
	local := time.Local
	time.Local = zone
	defer func() { time.Local = local }()
	all := []*repo.Snapshot{
		at("aa01", "vm/win11", 1, "2026-03-28T22:30:00Z"), // 23:30 in Berlin
		at("aa02", "vm/win11", 2, "2026-03-29T21:59:59Z"), // a day of 23 hours, the last second
		at("ab03", "vm/win11", 3, "2026-03-29T22:00:00Z"), // the next day
		at("ac04", "vm/win11", 4, "2026-10-25T00:30:00Z"), // 2:30 the first time
		at("ac05", "vm/win11", 5, "2026-10-25T01:30:00Z"), // 2:30 the second time
		at("ac06", "vm/win11", 6, "2026-10-25T22:59:59Z"), // a day of 25 hours, the last second
		at("b001", "vm/a@b", 1, "2026-01-01T00:00:00Z"),
		at("b002", "vm/a@2026-01-01", 1, "2026-01-01T00:00:00Z"),
		at("c001", "pg/db1/orders", 1, "2026-01-01T12:00:00Z"),
		at("c002", "vm/Ünïcode name, with = and :", 1, "2026-01-01T12:00:00Z"),
		at("dead", "beef", 1, "2026-01-01T12:00:00Z"),
		at("beef", "other", 1, "2026-01-01T12:00:00Z"),
		// A clock that was wrong: the second is older by its time.
		at("e001", "vm/clock", 1, "2026-06-01T12:00:00Z"),
		at("e002", "vm/clock", 2, "2026-05-01T12:00:00Z"),
	}
	for _, c := range []struct {
		ref, want string // the beginning of the ID, or part of the error
		err       error
	}{
		{"aa01", "aa01", nil},
		{"AA01", "aa01", nil},
		{"ab", "ab03", nil},
		{all[0].ID, "aa01", nil},
		{"aa", "2 snapshots begin so", repo.ErrAmbiguous},
		{"a", "6 snapshots begin so", repo.ErrAmbiguous},
		{"", "", repo.ErrNotFound},
		{"ffff", "sources: beef, other", repo.ErrNotFound},
		{"vm/win11", "ac06", nil},
		{"vm/win11@latest", "ac06", nil},
		{"vm/win1", "vm/win11", repo.ErrNotFound},
		{"vm/win11@2026-03-28", "aa01", nil},
		{"vm/win11@2026-03-29", "aa02", nil},
		{"vm/win11@2026-03-30", "ab03", nil},
		{"vm/win11@2026-03-27", "the oldest", repo.ErrNotFound},
		{"vm/win11@2026-10-25", "ac06", nil},
		{"vm/win11@2026-10-24", "ab03", nil},
		{"vm/win11@2026-10-25T00:30:00Z", "ac04", nil},
		{"vm/win11@2026-10-25T00:29:59Z", "ab03", nil},
		{"vm/win11@2026-10-25T02:30:00+02:00", "ac04", nil},
		{"vm/win11@2026-10-25T02:30:00+01:00", "ac05", nil},
		{"vm/win11@2026-10-25T00-30-00Z", "ac04", nil},
		{"vm/win11@2026-03-28T23:30:00", "aa01", nil},
		{"vm/win11@2026-03-28 23:30", "aa01", nil},
		{"vm/win11@2026-03-28T23:29", "the oldest", repo.ErrNotFound},
		{"vm/win11@2026-03-29T02:30", "aa01", nil}, // a time that does not exist
		{"vm/win11@yesterday", "no time", nil},
		{"vm/win11@", "no time", nil},
		{"vm/win11@2026-13-01", "no time", nil},
		{"vm/a@b", "b001", nil},
		{"vm/a@b@latest", "b001", nil},
		{"vm/a@b@2026-01-01", "b001", nil},
		{"vm/a@2026-01-01", "b002", nil},
		{"vm/a@2026-01-01@latest", "b002", nil},
		{"pg/db1/orders", "c001", nil},
		{"pg/db1/orders@latest", "c001", nil},
		{"vm/Ünïcode name, with = and :", "c002", nil},
		{"beef", "dead", nil}, // a source before an ID
		{"vm/clock", "e002", nil},
		{"vm/clock@2026-05-15", "e002", nil},
		{"vm/clock@2026-06-15", "e002", nil},
		{"nothing@latest", "none of the source nothing", repo.ErrNotFound},
	} {
		got, err := repo.ResolveIn(all, c.ref)
		switch {
		case err != nil:
			if !strings.Contains(err.Error(), c.want) || (c.err != nil && !errors.Is(err, c.err)) {
				t.Errorf("%q: %v", c.ref, err)
			}
		case c.err != nil || !strings.HasPrefix(got.ID, c.want):
			t.Errorf("%q: %s, want %s", c.ref, got.Short(), c.want)
		}
	}
	if _, err := repo.ResolveIn(nil, "x"); !errors.Is(err, repo.ErrNotFound) {
		t.Errorf("in an empty repository: %v", err)
	}
}
