package main

import (
	"fmt"
	"strings"
	"time"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/jedib0t/go-pretty/v6/text"

	"vaultfs/internal/retention"
	"vaultfs/repo"
)

// forgetJSON is the plan of forget; with "dry_run" nothing follows.
type forgetJSON struct {
	Event   string             `json:"event"` // "plan"
	DryRun  bool               `json:"dry_run"`
	Sources []forgetSourceJSON `json:"sources"`
	Named   []forgetEntryJSON  `json:"named"` // that were to be forgotten by name
	Keep    int                `json:"keep"`  // of the sources
	Forget  int                `json:"forget"`
}

type forgetSourceJSON struct {
	Source    string            `json:"source"`
	Kind      string            `json:"kind"`
	Rule      string            `json:"rule"`
	RuleFrom  string            `json:"rule_from"`
	Keep      int               `json:"keep"`
	Forget    int               `json:"forget"`
	Snapshots []forgetEntryJSON `json:"snapshots"`
}

type forgetEntryJSON struct {
	ID          string    `json:"id"`
	Source      string    `json:"source"`
	Time        time.Time `json:"time"`
	Seq         uint64    `json:"seq"`
	Size        int64     `json:"size"`
	BytesStored int64     `json:"bytes_stored"` // when it was made
	Tags        []string  `json:"tags"`
	Keep        bool      `json:"keep"`
	Reasons     []string  `json:"reasons"`
	Doubt       string    `json:"doubt"` // why it makes no other superfluous
}

// forgotJSON ends forget.
type forgotJSON struct {
	Event       string   `json:"event"` // "forgotten"
	Snapshots   []string `json:"snapshots"`
	BytesStored int64    `json:"bytes_stored"` // when they were made; gc tells what of it is freed
}

func toForgetEntryJSON(s *repo.Snapshot, d retention.Decision) forgetEntryJSON {
	return forgetEntryJSON{s.ID, s.Source, s.Time, s.Seq, s.Size(), s.Info.Summary.BytesStored, list(s.Tags), d.Keep, list(d.Reasons), d.Doubt}
}

func (p *printer) forgetPlan(plan *forgetPlan, dryRun bool) {
	if p.json {
		p.object(toForgetJSON(plan, dryRun))
		return
	}
	if !p.quiet || dryRun {
		for _, s := range plan.sources {
			p.sourcePlan(s)
		}
		p.namedPlan(plan.named)
	}
	kept := 0
	for _, s := range plan.sources {
		kept += len(s.decisions)
	}
	gone := plan.forgotten()
	kept -= len(gone) - len(plan.named)
	switch {
	case kept == 0 && len(gone) == 0:
		p.remark("there are no snapshots\n")
	case len(gone) == 0:
		p.remark("of %s none is to be forgotten\n", count(int64(kept), "snapshot"))
	case dryRun:
		p.text("%s would be forgotten%s; nothing was changed\n", count(int64(len(gone)), "snapshot"), orKept(kept))
	}
}

func isAre(n int) string {
	if n == 1 {
		return "1 is"
	}
	return fmt.Sprintf("%d are", n)
}

func orKept(kept int) string {
	if kept == 0 {
		return ""
	}
	return fmt.Sprintf(" and %d kept", kept)
}

func toForgetJSON(plan *forgetPlan, dryRun bool) forgetJSON {
	j := forgetJSON{Event: "plan", DryRun: dryRun, Sources: []forgetSourceJSON{}, Named: []forgetEntryJSON{}, Forget: len(plan.forgotten())}
	for _, s := range plan.sources {
		source := forgetSourceJSON{Source: s.source, Kind: s.kind, Rule: s.rule, RuleFrom: s.whose, Snapshots: []forgetEntryJSON{}, Forget: len(s.forgotten())}
		source.Keep = len(s.decisions) - source.Forget
		for i, d := range s.decisions {
			source.Snapshots = append(source.Snapshots, toForgetEntryJSON(s.snapshots[i], d))
		}
		j.Keep += source.Keep
		j.Sources = append(j.Sources, source)
	}
	for _, s := range plan.named {
		j.Named = append(j.Named, toForgetEntryJSON(s, retention.Decision{}))
	}
	return j
}

// sourcePlan prints what becomes of the snapshots of a source, the oldest first.
func (p *printer) sourcePlan(s *sourcePlan) {
	p.text("%s: %s (%s)\n", s.source, s.rule, s.whose)
	t := newForgetTable()
	for i, d := range s.decisions {
		t.AppendRow(forgetRow(s.snapshots[i], d))
	}
	p.table(t)
	gone := len(s.forgotten())
	p.text("%d kept, %d to be forgotten\n\n", len(s.decisions)-gone, gone)
}

func (p *printer) namedPlan(named []*repo.Snapshot) {
	if len(named) == 0 {
		return
	}
	t := newForgetTable()
	for _, s := range named {
		row := forgetRow(s, retention.Decision{})
		row[len(row)-1] = "named; of " + s.Source
		t.AppendRow(row)
	}
	p.table(t)
	p.text("\n")
}

func newForgetTable() table.Writer {
	t := newTable("", "ID", "TIME", "SIZE", "WHY")
	t.SetColumnConfigs([]table.ColumnConfig{{Number: 4, Align: text.AlignRight, AlignHeader: text.AlignRight}})
	return t
}

func forgetRow(s *repo.Snapshot, d retention.Decision) table.Row {
	what := "forget"
	if d.Keep {
		what = "keep"
	}
	why := strings.Join(d.Reasons, ", ")
	if d.Doubt != "" {
		if why != "" {
			why += "; "
		}
		why += d.Doubt
	}
	return table.Row{what, s.Short(), localTime(s.Time), iec(s.Size()), why}
}

// forgot tells what is forgotten now, and what that means for the space, unless
// it is collected at once.
func (p *printer) forgot(gone []*repo.Snapshot, collected bool) {
	stored, ids := int64(0), []string{}
	for _, s := range gone {
		stored += s.Info.Summary.BytesStored
		ids = append(ids, s.ID)
	}
	if p.json {
		p.object(forgotJSON{"forgotten", ids, stored})
		return
	}
	free := "; `vaultfs gc` frees what of it no other snapshot needs"
	if collected {
		free = ""
	}
	if len(gone) == 0 {
		p.remark("meanwhile somebody else has changed what there is: nothing was forgotten\n")
	} else {
		p.remark("forgot %s, for which %s had been stored%s\n", count(int64(len(gone)), "snapshot"), iec(stored), free)
	}
}

// ruleFor is whom a rule of the policy is for, in words.
func ruleFor(name string) string {
	if name == "" {
		return "all others"
	}
	return name
}
