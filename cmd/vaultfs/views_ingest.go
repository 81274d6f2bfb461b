package main

import (
	"fmt"
	"path/filepath"
	"strings"

	"vaultfs/internal/retention"
	"vaultfs/repo"
)

// outcome tells of a snapshot that was just committed, and how to get it back.
func (p *printer) outcome(o outcome, repoPath string) {
	s := o.snapshot
	if p.json {
		p.object(ingestJSON{
			Event: "summary", Snapshot: s.ID, Source: s.Source, summaryJSON: toSummaryJSON(s), Verified: s.Info.Verified,
			Mode: s.Info.Mode, Method: s.Info.Method, Quiesced: o.quiesced, FrozenSeconds: o.frozen, DownSeconds: o.down, Notes: o.remarks(), Warnings: list(o.warnings),
			Items: toItemsJSON(s), GetBack: getBack(s, repoPath), Tags: list(s.Tags), Forgot: forgotIDs(o.forgot),
		})
		return
	}
	for _, w := range o.warnings {
		p.warn(s.Source + ": " + w)
	}
	p.remark("%s: snapshot %s of %s\n", s.Source, s.Short(), localTime(s.Time))
	fact := func(name, value string) {
		if value != "" {
			p.remark("  %-9s %s\n", name, value)
		}
	}
	fact("files", filesFact(s))
	fact("of these", changesFact(s))
	fact("read", readFact(s))
	fact("new", newFact(s))
	fact("verified", s.Info.Verified)
	fact("quiesced", o.quiesced)
	for _, it := range s.Items {
		if it.How != "" {
			fact("disk", it.Name+": "+howFact(it))
		}
		fact("note", prefixed(it.Name+": ", it.Note))
	}
	for _, note := range o.remarks() {
		fact("note", note)
	}
	fact("forgot", forgotFact(o.forgot))
	fact("get back", getBack(s, repoPath))
}

func forgotIDs(p *sourcePlan) []string {
	ids := []string{}
	if p != nil {
		for _, s := range p.forgotten() {
			ids = append(ids, s.ID)
		}
	}
	return ids
}

// forgotFact tells what was forgotten after an ingest; "" if nothing was to be.
func forgotFact(p *sourcePlan) string {
	if p == nil {
		return ""
	}
	gone := p.forgotten()
	kept := fmt.Sprintf("%s kept by %s: %s", isAre(len(p.decisions)-len(gone)), p.whose, p.rule)
	for _, d := range p.decisions {
		if d.Protected || retention.ByTime(d) {
			kept += ", and the " + d.Reasons[0]
		}
	}
	if len(gone) == 0 {
		return "nothing; " + kept
	}
	var stored int64
	for _, s := range gone {
		stored += s.Info.Summary.BytesStored
	}
	return fmt.Sprintf("%s that had stored %s, whose space `vaultfs gc` frees; %s", count(int64(len(gone)), "snapshot"), iec(stored), kept)
}

// getBack is the command that restores a snapshot: the whole VM, or its files.
func getBack(s *repo.Snapshot, repoPath string) string {
	path, err := filepath.Abs(repoPath)
	if err != nil {
		path = repoPath
	}
	how := "--to restored-" + s.Short()
	if name, ok := strings.CutPrefix(s.Source, "vm/"); ok && s.Item("domain.xml") != nil {
		how = "--define --name " + shellWord(strings.ReplaceAll(name, "/", "-")+"-restored") // libvirt allows no slash
	}
	return fmt.Sprintf("vaultfs -r %s restore %s %s", shellWord(path), s.Short(), how)
}
