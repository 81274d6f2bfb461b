package main

import (
	"fmt"
	"time"

	"github.com/jedib0t/go-pretty/v6/table"

	"vaultfs/repo"
)

// sessions tells who is at work, and of the dead ones that were just cleared away.
func (p *printer) sessions(cleared, sessions []repo.SessionInfo, now time.Time) {
	if p.json {
		j := []sessionJSON{}
		for _, s := range sessions {
			j = append(j, toSessionJSON(s))
		}
		for _, s := range cleared {
			gone := toSessionJSON(s)
			gone.Cleared = true
			j = append(j, gone)
		}
		p.object(j)
		return
	}
	for _, s := range cleared {
		p.remark("cleared: %s %s, dead\n", shortSession(s.ID), whoseSession(s))
	}
	if len(sessions) == 0 {
		p.remark("nobody is at work in the repository\n")
		return
	}
	t := newTable("ID", "KIND", "SINCE", "", "PROCESS", "STATE", "PURPOSE")
	for _, s := range sessions {
		process := "?"
		if s.PID > 0 {
			process = fmt.Sprintf("%d on %s", s.PID, s.Host)
		}
		t.AppendRow(table.Row{shortSession(s.ID), s.Kind, localTime(s.Since), ago(now, s.Since), oneLine(process), aliveWord(s.Alive), oneLine(s.Purpose)})
	}
	p.table(t)
}

func aliveWord(alive bool) string {
	if alive {
		return "alive"
	}
	return "dead"
}

func shortSession(id string) string { return id[:min(8, len(id))] }

// whoseSession names a session for people: "ingest vm/win11 by process 17 on nas
// since 2026-11-23 18:02:00".
func whoseSession(s repo.SessionInfo) string {
	who := s.Purpose
	if who == "" {
		who = "a session that cannot be read"
	}
	if s.PID > 0 {
		who += fmt.Sprintf(" by process %d on %s", s.PID, s.Host)
	}
	return oneLine(who + " since " + localTime(s.Since))
}

type sessionJSON struct {
	ID      string    `json:"id"`
	Kind    string    `json:"kind"`
	Purpose string    `json:"purpose"`
	Host    string    `json:"host"`
	PID     int       `json:"pid"`
	Since   time.Time `json:"since"`
	Alive   bool      `json:"alive"`
	Cleared bool      `json:"cleared"` // it was dead, and is gone now
}

func toSessionJSON(s repo.SessionInfo) sessionJSON {
	return sessionJSON{ID: s.ID, Kind: s.Kind, Purpose: s.Purpose, Host: s.Host, PID: s.PID, Since: s.Since, Alive: s.Alive}
}
