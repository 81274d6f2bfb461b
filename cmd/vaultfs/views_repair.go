package main

import (
	"fmt"
	"strings"

	"vaultfs/repo"
)

// mended tells what a repair found and did, and what is lost. What is lost is
// never left out.
func (p *printer) mended(m *mending) {
	if p.json {
		p.object(toRepairJSON(m))
		return
	}
	if len(m.Before) == 0 && m.Whole() {
		p.remark("nothing is damaged, in %s\n", round(m.took))
		return
	}
	for _, f := range m.Before {
		p.text("%s: %v\n", f.Object, f.Err)
	}
	p.deeds(m)
	for _, s := range m.Snapshots {
		source := ""
		if s.Source != "" {
			source = " of " + s.Source
		}
		p.text("lost: the snapshot %s%s; its manifest cannot be read (%v)\n", s.ID, source, s.Err)
	}
	for _, l := range m.Losses {
		p.loss(l)
	}
	p.verdict(m)
}

// deeds tells what was changed.
func (p *printer) deeds(m *mending) {
	if m.Index {
		p.remark("made a new index\n")
	}
	for _, name := range m.PutBack {
		p.remark("put back: %s, from the copy\n", name)
	}
	for _, name := range m.SetAside {
		p.remark("set aside: %s, to quarantine/%s\n", name, name)
	}
	if m.Saved > 0 {
		p.remark("saved: %s that were good in damaged packs\n", count(m.Saved, "chunk"))
	}
	if m.Dropped > 0 {
		p.remark("no longer listed: %s that are missing, and of which no snapshot needs anything\n", packs(m.Dropped))
	}
	if m.Healed > 0 {
		p.remark("healed: %s from the other repository\n", count(m.Healed, "lost chunk"))
	}
}

// loss tells what of a disk or file is lost.
func (p *printer) loss(l repo.Loss) {
	name := l.Item
	switch {
	case l.Path == "":
	case l.Item == repo.WholeTree:
		name = l.Path
	default:
		name += ":" + l.Path
	}
	detail := ""
	if l.Detail != "" {
		detail = ", " + l.Detail
	}
	p.text("lost: %s  %s  %s  %s: %s%s\n", l.Snapshot.Short(), localTime(l.Snapshot.Time), l.Snapshot.Source, oneLine(name), iec(l.Bytes), detail)
	for _, r := range l.Ranges {
		p.text("    at byte %d: %d bytes\n", r.Off, r.Len)
	}
}

// verdict says whether all is whole now, and what can be done if it is not.
func (p *printer) verdict(m *mending) {
	structure := false
	for _, l := range m.Losses {
		structure = structure || l.Structure
	}
	switch {
	case m.dryRun:
		p.remark("nothing was changed\n")
	case m.Whole():
		p.remark("all is whole again, in %s\n", round(m.took))
		return
	default:
		for _, f := range m.After {
			if len(f.Touches) == 0 || !strings.HasPrefix(f.Object, "chunk ") { // else it is told as a loss
				p.still(f)
			}
		}
	}
	if structure {
		p.text("as long as maps or directories are lost, gc removes nothing that they might name\n")
	}
	if len(m.Losses) > 0 {
		from := ", or with `vaultfs repair --from` another repository that has it"
		if m.from {
			from = ""
		}
		p.text("what is lost heals when the same sources are backed up again while they hold it%s;\n"+
			"else it goes with the snapshots that need it: `vaultfs forget`\n", from)
	}
}

// still tells of damage that a repair cannot mend, and what a person can do.
func (p *printer) still(f repo.Finding) {
	advice := ""
	switch {
	case strings.HasPrefix(f.Object, "key slot "):
		id := strings.TrimPrefix(f.Object, "key slot ")
		advice = fmt.Sprintf("; put it back with `vaultfs key import`, or take it away with `vaultfs key remove %s`", id)
	case strings.HasPrefix(f.Object, "policy/"):
		advice = "; set it anew with `vaultfs policy set`"
	case strings.HasPrefix(f.Object, "pack "):
		advice = "; it stays listed, and is used again if it comes back"
	}
	p.text("still damaged: %s: %v%s\n", f.Object, f.Err, advice)
}

type repairJSON struct {
	Event     string             `json:"event"` // "summary"
	DryRun    bool               `json:"dry_run"`
	Findings  []findingJSON      `json:"findings"`
	Index     bool               `json:"index_made"`
	SetAside  []string           `json:"set_aside"` // names that they had; they are below quarantine/ now
	PutBack   []string           `json:"put_back"`
	Dropped   int                `json:"packs_dropped"`
	Saved     int64              `json:"chunks_saved"`
	Healed    int64              `json:"chunks_healed"`
	Snapshots []lostSnapshotJSON `json:"snapshots_lost"`
	Losses    []lostJSON         `json:"losses"`
	Remaining []findingJSON      `json:"remaining"`
	Whole     bool               `json:"whole"`
	Seconds   float64            `json:"seconds"`
}

type lostSnapshotJSON struct {
	ID     string `json:"id"`
	Source string `json:"source"` // "" if it is not known
	Reason string `json:"reason"`
}

type lostJSON struct {
	Snapshot  string      `json:"snapshot"`
	Source    string      `json:"source"`
	Item      string      `json:"item"`
	Path      string      `json:"path,omitempty"`
	Ranges    []rangeJSON `json:"ranges"`
	Bytes     int64       `json:"bytes"`
	Detail    string      `json:"detail,omitempty"`
	Structure bool        `json:"structure"`
}

type rangeJSON struct {
	Offset int64 `json:"offset"`
	Length int64 `json:"length"`
}

func toRepairJSON(m *mending) repairJSON {
	j := repairJSON{
		Event: "summary", DryRun: m.dryRun, Findings: toFindingsJSON(m.Before), Index: m.Index, SetAside: list(m.SetAside), PutBack: list(m.PutBack),
		Dropped: m.Dropped, Saved: m.Saved, Healed: m.Healed, Snapshots: []lostSnapshotJSON{}, Losses: []lostJSON{},
		Remaining: toFindingsJSON(m.After), Whole: m.Whole(), Seconds: m.took.Seconds(),
	}
	for _, s := range m.Snapshots {
		j.Snapshots = append(j.Snapshots, lostSnapshotJSON{s.ID, s.Source, s.Err.Error()})
	}
	for _, l := range m.Losses {
		one := lostJSON{l.Snapshot.ID, l.Snapshot.Source, l.Item, l.Path, []rangeJSON{}, l.Bytes, l.Detail, l.Structure}
		for _, r := range l.Ranges {
			one.Ranges = append(one.Ranges, rangeJSON{r.Off, r.Len})
		}
		j.Losses = append(j.Losses, one)
	}
	return j
}
