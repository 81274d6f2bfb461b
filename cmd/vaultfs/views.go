package main

import (
	"fmt"
	"strings"
	"time"

	"github.com/jedib0t/go-pretty/v6/table"

	"vaultfs/repo"
)

// One function for each thing that a command has to tell, as text and as JSON.

// done tells of something that is done.
func (p *printer) done(what, key string) {
	if p.json {
		p.object(doneJSON{what, key})
		return
	}
	p.remark("%s\n", what)
}

func (p *printer) version(version, goVersion string) {
	if p.json {
		p.object(versionJSON{version, goVersion})
		return
	}
	p.text("vaultfs %s (%s)\n", version, goVersion)
}

func (p *printer) madeRepository(path string, r *repo.Repo, recovery string) {
	if p.json {
		p.object(initJSON{path, r.ID(), r.Encrypted(), recovery})
		return
	}
	p.remark("made the repository %s, ID %s\n", path, r.ID()[:16])
	switch {
	case !r.Encrypted():
		p.remark("it is not encrypted: anybody who can read its files can read what is backed up\n")
	case recovery == "":
		p.remark("without the password nobody can read it, you neither: write it down\n" +
			"against the loss of the key files: vaultfs key export FILE\n")
	default:
		p.remark("without the password nobody can read it, you neither: write it down\n"+
			"keep the recovery file %s apart from the repository\n", recovery)
	}
}

func (p *printer) keys(keys []repo.KeyInfo) {
	if p.json {
		j := []keyJSON{}
		for _, k := range keys {
			j = append(j, keyJSON(k))
		}
		p.object(j)
		return
	}
	t := newTable("", "ID", "CREATED", "LABEL")
	for _, k := range keys {
		mark := ""
		if k.Current {
			mark = "*"
		}
		t.AppendRow(table.Row{mark, k.ID, localTime(k.Created), k.Label})
	}
	p.table(t)
}

func yesNo(yes bool) string {
	if yes {
		return "yes"
	}
	return "no"
}

func (p *printer) mounted(repoPath, dir string, pid int) {
	if p.json {
		p.object(mountJSON{"mounted", dir, pid})
		return
	}
	p.remark("the snapshots of %s are in %s; end it with: vaultfs umount %s\n", repoPath, dir, shellWord(dir))
}

func prefixed(prefix, s string) string {
	if s == "" {
		return ""
	}
	return prefix + s
}

// shellWord writes a string so that a shell takes it as one word.
func shellWord(s string) string {
	plain := func(r rune) bool {
		return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("/._-+:,@", r)
	}
	if s != "" && strings.TrimFunc(s, plain) == "" {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}

func count(n int64, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

func round(d time.Duration) string {
	switch {
	case d < time.Second:
		return d.Round(time.Millisecond).String()
	case d < 10*time.Second:
		return d.Round(100 * time.Millisecond).String()
	}
	return d.Round(time.Second).String()
}
