package main

import (
	"strings"
	"time"

	"github.com/jedib0t/go-pretty/v6/table"

	"vaultfs/internal/retention"
	"vaultfs/repo"
)

type policyJSON struct {
	Default bool       `json:"default"` // none was set
	Rules   []ruleJSON `json:"rules"`
}

type ruleJSON struct {
	For       string   `json:"for"` // "" all, a kind or a source
	Last      uint64   `json:"last"`
	Hourly    uint64   `json:"hourly"`
	Daily     uint64   `json:"daily"`
	Weekly    uint64   `json:"weekly"`
	Monthly   uint64   `json:"monthly"`
	Yearly    uint64   `json:"yearly"`
	Within    int64    `json:"within_seconds"`
	Tags      []string `json:"tags"`
	MaxAge    int64    `json:"max_age_seconds"`
	MaxUnread int64    `json:"max_unread_seconds"`
}

// policy prints rules.
func (p *printer) policy(rules []repo.PolicyRule, set bool) {
	if p.json {
		j := policyJSON{Default: !set, Rules: []ruleJSON{}}
		for _, r := range rules {
			j.Rules = append(j.Rules, ruleJSON{r.For, r.Last, r.Hourly, r.Daily, r.Weekly, r.Monthly, r.Yearly, r.Within, list(r.Tags), r.MaxAge, r.MaxUnread})
		}
		p.object(j)
		return
	}
	t := newTable("FOR", "KEEPS", "WARNS OF")
	for _, r := range rules {
		t.AppendRow(table.Row{ruleFor(r.For), toRule(r).String(), warnsOf(r)})
	}
	p.table(t)
	if !set {
		p.remark("this is the default: none was set\n")
	}
}

func warnsOf(r repo.PolicyRule) string {
	var what []string
	length := func(seconds int64) string { return retention.FormatDuration(time.Duration(seconds) * time.Second) }
	if r.MaxAge > 0 {
		what = append(what, "no snapshot for "+length(r.MaxAge))
	}
	if r.MaxUnread > 0 {
		what = append(what, "packs not read for "+length(r.MaxUnread))
	}
	return strings.Join(what, ", ")
}
