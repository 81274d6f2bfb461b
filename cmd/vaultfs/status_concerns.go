package main

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"vaultfs/repo"
)

// A concern is something that a person should look after, in a sentence.
type concern struct {
	Kind   string `json:"kind"`
	Source string `json:"source,omitempty"` // that it is about
	Text   string `json:"text"`
}

// The kinds of concern.
const (
	concernDamage  = "damage"
	concernBackup  = "backup"
	concernVerify  = "verify"
	concernClock   = "clock"
	concernSpace   = "space"
	concernSession = "session"
	concernWaiting = "waiting"
)

// From when on something needs attention.
const (
	lowShare     = 20        // free: less than a 20th of the file system
	lowMost      = 100 << 30 // but no more than these bytes
	longAtWork   = 3 * 24 * time.Hour
	longWaiting  = 30 * 24 * time.Hour
	clockAllowed = time.Hour // by which the clocks of several hosts may differ
)

// concernsOf lists what needs attention, the gravest first.
func concernsOf(st *repo.Status) (list []concern) {
	add := func(kind, source, format string, args ...any) {
		list = append(list, concern{kind, source, fmt.Sprintf(format, args...)})
	}
	damageConcerns(st, add)
	for _, s := range st.Sources {
		backupConcerns(s, add)
	}
	proofConcerns(st, add)
	readingConcerns(st, add)
	if st.Capacity > 0 && st.Free < min(st.Capacity/lowShare, lowMost) {
		add(concernSpace, "", "only %s are free on the repository's file system: make room, or let `vaultfs forget --gc` do it", iec(st.Free))
	}
	sessionConcerns(st, add)
	if f := st.Forgotten; f.Snapshots > 0 && !f.Oldest.IsZero() && st.Now.Sub(f.Oldest) > longWaiting {
		add(concernWaiting, "", "%s forgotten since %s still take space: `vaultfs gc` frees it", count(int64(f.Snapshots), "snapshot"), span(st.Now.Sub(f.Oldest)))
	}
	return list
}

type addConcern func(kind, source, format string, args ...any)

// damageConcerns are the known damages.
func damageConcerns(st *repo.Status, add addConcern) {
	for _, err := range st.Problems {
		if errors.Is(err, repo.ErrDamaged) {
			add(concernDamage, "", "%v", err)
		}
	}
	if n := len(st.Missing); n > 0 {
		add(concernDamage, "", "%s missing or cut off (%s): `vaultfs verify` tells what is lost with %s", theyAre(n, "pack"), first(st.Missing), them(n))
	}
	if n := len(st.Damaged); n > 0 {
		add(concernDamage, "", "%s damaged (%s): `vaultfs verify --read-data` tells what is lost with %s, and `vaultfs repair` what can be done",
			theyAre(n, "pack"), first(st.Damaged), them(n))
	}
	for _, s := range st.Sources {
		if n := len(s.Lost); n > 0 {
			var ids []string
			for _, lost := range s.Lost {
				ids = append(ids, lost.Short())
			}
			add(concernDamage, s.Source, "%s: verify found that %s of it lost something (%s): back it up again while it still holds that, or see `vaultfs repair --help`, and then run `vaultfs verify --read-data`",
				s.Source, count(int64(n), "snapshot"), first(ids))
		}
	}
}

// backupConcerns are that a source is not backed up as it should be.
func backupConcerns(s repo.SourceStatus, add addConcern) {
	switch {
	case s.Late && s.MaxAge > 0:
		add(concernBackup, s.Source, "%s: its newest snapshot is %s old; the policy allows %s", s.Source, span(s.Age), span(s.MaxAge))
	case s.Late:
		add(concernBackup, s.Source, "%s: its newest snapshot is %s old; usually there is one every %s", s.Source, span(s.Age), span(s.Usual))
	}
	if n := len(s.Future); n > 0 {
		add(concernClock, s.Source, "%s: %s from the future, the newest of %s: a clock is wrong, or was when that was made",
			s.Source, theyAre(n, "snapshot"), localTime(s.Future[n-1].Time))
	}
}

// proofConcerns are that the newest snapshots of sources were not verified, or
// long ago. Those of many sources are one concern.
func proofConcerns(st *repo.Status, add addConcern) {
	var never, long []repo.SourceStatus
	for _, s := range st.Sources {
		switch {
		case newestIsLost(s): // that is told as damage
		case s.Verified.IsZero():
			never = append(never, s)
		case s.Unread:
			long = append(long, s)
		}
	}
	const several = 3
	if len(never) > several {
		add(concernVerify, "", "the newest snapshots of %d sources were never verified (%s): `vaultfs verify --read-data` does", len(never), first(sourceNames(never)))
		never = nil
	}
	for _, s := range never {
		add(concernVerify, s.Source, "%s: its newest snapshot was never verified: `vaultfs verify --read-data %s` does", s.Source, shellWord(s.Source))
	}
	if len(long) > several {
		add(concernVerify, "", "the newest snapshots of %d sources were not verified for longer than the policy allows (%s): `vaultfs verify --read-data` does",
			len(long), first(sourceNames(long)))
		long = nil
	}
	for _, s := range long {
		add(concernVerify, s.Source, "%s: its newest snapshot was last verified %s; the policy allows %s", s.Source, ago(st.Now, s.Verified), span(s.MaxUnread))
	}
}

func sourceNames(sources []repo.SourceStatus) (names []string) {
	for _, s := range sources {
		names = append(names, s.Source)
	}
	return names
}

// newestIsLost tells whether verify has found damage in the newest snapshot.
func newestIsLost(s repo.SourceStatus) bool {
	return len(s.Lost) > 0 && s.Lost[len(s.Lost)-1] == s.Newest
}

// readingConcerns are that data were not read for long.
func readingConcerns(st *repo.Status, add addConcern) {
	if n := st.Reading.Overdue; n.Packs > 0 {
		add(concernVerify, "", "%s (%s) were not read for more than %s: `vaultfs verify --sample 5%%` every night reads all in 20 days",
			count(int64(n.Packs), "pack"), iec(n.Bytes), span(st.Reading.Limit))
	}
	if n := st.Reading.Future; n > 0 {
		add(concernClock, "", "%s said to have been read in the future: a clock is wrong, or was then; that counts as never", theyAre(n, "pack"))
	}
}

// sessionConcerns are of who died at work, or does not come to an end.
func sessionConcerns(st *repo.Status, add addConcern) {
	for _, s := range st.Sessions {
		age := st.Now.Sub(s.Since)
		switch {
		case age < -clockAllowed:
			add(concernClock, "", "%s: that is in the future, a clock is wrong", whoseSession(s))
		case !s.Alive:
			add(concernSession, "", "%s has died at work; nothing of it was committed. The next backup clears it away, or `vaultfs sessions`", whoseSession(s))
		case s.Kind != "read" && age > longAtWork:
			add(concernSession, "", "%s has been at work for %s: space that others free waits for it", whoseSession(s), span(age))
		}
	}
}

// newerOf are the objects that a newer version wrote.
func newerOf(st *repo.Status) (sentences []string) {
	for _, err := range st.Problems {
		if !errors.Is(err, repo.ErrDamaged) {
			sentences = append(sentences, err.Error())
		}
	}
	return sentences
}

func theyAre(n int, what string) string {
	if n == 1 {
		return "1 " + what + " is"
	}
	return fmt.Sprintf("%d %ss are", n, what)
}

func them(n int) string {
	if n == 1 {
		return "it"
	}
	return "them"
}

// first names the first of many.
func first(names []string) string {
	const most = 3
	if len(names) <= most {
		return strings.Join(names, ", ")
	}
	return strings.Join(names[:most], ", ") + ", …"
}
