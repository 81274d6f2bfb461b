package main

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"vaultfs/repo"
)

func TestAgo(t *testing.T) {
	now := time.Date(2026, 11, 21, 18, 0, 0, 0, time.UTC)
	for d, want := range map[time.Duration]string{
		0: "just now", 59 * time.Second: "just now", -time.Minute: "just now", time.Minute: "1 min ago", 59 * time.Minute: "59 min ago",
		time.Hour: "1 h ago", 47*time.Hour + 59*time.Minute: "47 h ago", 48 * time.Hour: "2 days ago", 400 * 24 * time.Hour: "400 days ago",
		-2 * time.Minute: "2 min in the future", -365 * 24 * time.Hour: "365 days in the future",
	} {
		if got := ago(now, now.Add(-d)); got != want {
			t.Errorf("%v: %q, want %q", d, got, want)
		}
	}
	if got := ago(now, time.Time{}); got != "never" {
		t.Errorf("never: %q", got)
	}
}

// Every kind of concern is told in a sentence, and none without cause.
func TestConcerns(t *testing.T) {
	now := time.Date(2026, 11, 21, 18, 0, 0, 0, time.UTC)
	const day = 24 * time.Hour
	snapshot := func(at time.Time) *repo.Snapshot {
		return &repo.Snapshot{ID: strings.Repeat("ab", 16), Source: "vm/x", Time: at}
	}
	fine := repo.SourceStatus{Source: "vm/x", Newest: snapshot(now.Add(-time.Hour)), Verified: now, Age: time.Hour}
	with := func(change func(*repo.SourceStatus)) func(*repo.Status) {
		return func(st *repo.Status) { change(&st.Sources[0]) }
	}
	tests := map[string]struct {
		change func(*repo.Status)
		kind   string
		want   string
	}{
		"nothing": {func(*repo.Status) {}, "", ""},
		"late by rhythm": {with(func(s *repo.SourceStatus) { s.Late, s.Age, s.Usual = true, 5*day, day }),
			concernBackup, "vm/x: its newest snapshot is 5 days old; usually there is one every 24 h"},
		"late by policy": {with(func(s *repo.SourceStatus) { s.Late, s.Age, s.MaxAge = true, 50*time.Hour, 36*time.Hour }),
			concernBackup, "vm/x: its newest snapshot is 2 days old; the policy allows 36 h"},
		"future": {with(func(s *repo.SourceStatus) { s.Future = []*repo.Snapshot{snapshot(now.Add(365 * day))} }),
			concernClock, "vm/x: 1 snapshot is from the future"},
		"never verified": {with(func(s *repo.SourceStatus) { s.Verified = time.Time{} }), concernVerify, "never verified: `vaultfs verify --read-data vm/x`"},
		"long ago": {with(func(s *repo.SourceStatus) { s.Unread, s.Verified, s.MaxUnread = true, now.Add(-60*day), 45*day }),
			concernVerify, "last verified 60 days ago; the policy allows 45 days"},
		"lost": {with(func(s *repo.SourceStatus) { s.Lost, s.Verified = []*repo.Snapshot{s.Newest}, time.Time{} }),
			concernDamage, "vm/x: verify found that 1 snapshot of it lost something (abababab)"},
		"damaged": {func(st *repo.Status) { st.Damaged = []string{"pack 12"} }, concernDamage, "1 pack is damaged (pack 12)"},
		"missing": {func(st *repo.Status) { st.Missing = []string{"pack 1", "pack 2", "pack 3", "pack 4"} }, concernDamage, "4 packs are missing or cut off (pack 1, pack 2, pack 3, …)"},
		"problem": {func(st *repo.Status) {
			st.Problems = []error{&repo.DamageError{Object: "head/1", Err: errors.New("cut off")}}
		}, concernDamage, "head/1: cut off"},
		"newer":       {func(st *repo.Status) { st.Problems = []error{fmt.Errorf("head/1: %w", repo.ErrNewerFormat)} }, "", ""},
		"unread":      {func(st *repo.Status) { st.Reading.Overdue = repo.PackCount{Packs: 7, Bytes: 1 << 20} }, concernVerify, "7 packs (1.0 MiB) were not read for more than 45 days"},
		"read ahead":  {func(st *repo.Status) { st.Reading.Future = 2 }, concernClock, "2 packs are said to have been read in the future"},
		"low":         {func(st *repo.Status) { st.Free = 4 << 30 }, concernSpace, "only 4.0 GiB are free"},
		"low of much": {func(st *repo.Status) { st.Capacity, st.Free = 100<<40, 1<<40 }, "", ""},
		"dead": {func(st *repo.Status) {
			st.Sessions = []repo.SessionInfo{{Purpose: "ingest vm/x", PID: 12, Host: "nas", Since: now.Add(-time.Hour)}}
		}, concernSession, "ingest vm/x by process 12 on nas since "},
		"long at work": {func(st *repo.Status) {
			st.Sessions = []repo.SessionInfo{{Purpose: "ingest vm/x", Kind: "write", Alive: true, Since: now.Add(-4 * day)}}
		}, concernSession, "has been at work for 4 days"},
		"long mounted": {func(st *repo.Status) {
			st.Sessions = []repo.SessionInfo{{Purpose: "mount /mnt", Kind: "read", Alive: true, Since: now.Add(-40 * day)}}
		}, "", ""},
		"began in the future": {func(st *repo.Status) {
			st.Sessions = []repo.SessionInfo{{Purpose: "mount /mnt", Kind: "read", Alive: true, Since: now.Add(day)}}
		}, concernClock, "that is in the future"},
		"waiting": {func(st *repo.Status) {
			st.Forgotten = repo.ForgottenStatus{Snapshots: 3, Oldest: now.Add(-40 * day)}
		}, concernWaiting, "3 snapshots forgotten since 40 days still take space: `vaultfs gc` frees it"},
		"not long": {func(st *repo.Status) { st.Forgotten = repo.ForgottenStatus{Snapshots: 3, Oldest: now.Add(-day)} }, "", ""},
	}
	for name, test := range tests {
		st := &repo.Status{Now: now, Sources: []repo.SourceStatus{fine}, Capacity: 100 << 30, Free: 50 << 30}
		st.Reading.Limit = 45 * day
		test.change(st)
		got := concernsOf(st)
		if test.kind == "" {
			if len(got) != 0 {
				t.Errorf("%s: %+v", name, got)
			}
			continue
		}
		if len(got) != 1 || got[0].Kind != test.kind || !strings.Contains(got[0].Text, test.want) {
			t.Errorf("%s: %+v, want %s %q", name, got, test.kind, test.want)
		}
	}
}

// What many sources have in common is told once.
func TestConcernsOfManySources(t *testing.T) {
	now := time.Now()
	st := &repo.Status{Now: now}
	for i := range 6 {
		st.Sources = append(st.Sources, repo.SourceStatus{Source: fmt.Sprint("vm/", i), Newest: &repo.Snapshot{Time: now}})
	}
	got := concernsOf(st)
	if len(got) != 1 || !strings.Contains(got[0].Text, "of 6 sources were never verified (vm/0, vm/1, vm/2, …)") {
		t.Errorf("%+v", got)
	}
}

func TestWrapped(t *testing.T) {
	long := strings.Repeat("word ", 40) + strings.Repeat("x", 100)
	got := wrapped("verify", long)
	lines := strings.Split(strings.TrimSuffix(got, "\n"), "\n")
	for i, line := range lines {
		if len(line) > statusWidth && !strings.Contains(line, "xxx") {
			t.Errorf("line %d has %d bytes", i, len(line))
		}
	}
	if strings.Join(strings.Fields(got), " ") != "verify "+long || !strings.HasPrefix(got, "verify      word") || !strings.HasPrefix(lines[1], "            word") {
		t.Errorf("%s", got)
	}
}
