package repo

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// waiting says which space cannot be freed yet, and for whom it waits. plan is
// nil once it was carried out.
func (c *collector) waiting(s *survey, plan *planned) (list []Waiting) {
	add := func(who *SessionInfo, reason string, packs int, bytes int64) {
		i := slices.IndexFunc(list, func(w Waiting) bool { return w.Reason == reason })
		if i < 0 {
			i, list = len(list), append(list, Waiting{Session: who, Reason: reason})
		}
		list[i].Packs += packs
		list[i].Bytes += bytes
	}
	writer := s.blocker(s.head.Epoch + 1)
	packs := s.view.Packs()
	for i := range packs.List {
		epoch, isCondemned := packs.Condemned(i)
		var who *SessionInfo
		switch {
		case isCondemned && (plan == nil || plan.packs[i].fate == waits):
			who = s.blocker(epoch)
		case plan != nil && (plan.packs[i].fate == dies || plan.packs[i].fate == moves):
			who = writer
		}
		if who != nil {
			add(who, atWork(who)+", and may rely on packs that were still in use when it began", 1, s.packs[i].bytes)
		}
	}
	for _, r := range s.roots {
		if !s.marks[r.id] {
			continue
		}
		for i, w := range s.works {
			if w.lease != nil && slices.Contains(w.lease.Snapshots, r.id) {
				add(&s.works[i].SessionInfo, fmt.Sprintf("snapshot %s of %s was forgotten, but is in use: %s", r.id.String()[:8], r.source, atWork(&w.SessionInfo)), 0, 0)
			}
		}
	}
	if who := s.unreadable(); who != nil && len(list) == 0 {
		add(who, atWork(who), 0, 0)
	}
	return list
}

// atWork says in a sentence who is at work.
func atWork(s *SessionInfo) string {
	since := s.Since.Format("15:04")
	if time.Since(s.Since) > 12*time.Hour {
		since = s.Since.Format("2006-01-02 15:04")
	}
	by := fmt.Sprintf("since %s by process %d on %s", since, s.PID, s.Host)
	source, ingest := strings.CutPrefix(s.Purpose, "ingest ")
	switch {
	case s.Kind == "unknown":
		return fmt.Sprintf("session %s, whose lease cannot be read, has been at work since %s", s.ID[:min(8, len(s.ID))], since)
	case ingest && s.Kind == "write":
		return source + " is being backed up " + by
	}
	return s.Purpose + " " + by
}
