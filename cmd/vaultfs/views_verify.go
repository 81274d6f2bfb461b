package main

import (
	"fmt"
	"strings"

	"vaultfs/repo"
)

// proof tells what verify has proved and found. Findings are never left out.
func (p *printer) proof(f *proof) {
	depth := "structure"
	if f.readData {
		depth = "data"
	}
	if p.json {
		p.object(proofJSON{verifyJSON{"summary", depth, max(0, f.qemu), f.Snapshots, f.Items, f.Packs, f.Chunks, f.Bytes, f.Unlisted,
			f.took.Seconds(), toFindingsJSON(append(f.Findings, f.images...))}, f.newer()})
		return
	}
	for _, finding := range f.Findings {
		p.finding(finding)
	}
	for _, image := range f.images {
		p.text("%s: %v\n", image.Object, image.Err)
	}
	p.remark("%s\n", f.proved())
	if f.qemu >= 0 {
		p.remark("qemu-img check: %s\n", count(int64(f.qemu), "disk"))
	}
	if f.Unlisted > 0 {
		p.remark("note: %s in no index, left by interrupted ingests; they harm nothing\n", count(int64(f.Unlisted), "pack"))
	}
	for _, newer := range f.newer() {
		p.text("%s: not looked at, nor what only it names; install a newer vaultfs to verify it\n", newer)
	}
	if n := f.damaged(); n > 0 {
		p.text("damage: %s; see above for what is lost\n", count(int64(n), "object"))
		return
	}
	if len(f.Newer) > 0 {
		p.text("no damage found in what this version knows, in %s; not all was looked at\n", round(f.took))
		return
	}
	p.remark("no damage found, in %s\n", round(f.took))
}

func (f *proof) proved() string {
	what := fmt.Sprintf("%s with %s", count(int64(f.Snapshots), "snapshot"), count(int64(f.Items), "item"))
	if f.readData {
		return fmt.Sprintf("structure and data: %s; %s in %s (%s) read and rehashed", what,
			count(f.Chunks, "chunk"), count(int64(f.Packs), "pack"), iec(f.Bytes))
	}
	if f.Packs == 0 {
		return fmt.Sprintf("structure: %s; the data was not read (--read-data does)", what)
	}
	return fmt.Sprintf("structure: %s; %s (%s) are there; the data was not read (--read-data does)", what,
		count(int64(f.Packs), "pack"), iec(f.Bytes))
}

// finding prints a damaged object, and what is lost with it.
func (p *printer) finding(f repo.Finding) {
	p.text("%s: %v\n", f.Object, f.Err)
	for _, t := range f.Touches {
		p.text("  %s  %s  %s  %s: %s lost%s\n", t.Snapshot.Short(), localTime(t.Snapshot.Time), t.Snapshot.Source, t.Item, iec(t.Bytes), inFiles(t))
		for _, path := range t.Paths {
			p.text("    %s\n", oneLine(path))
		}
		if more := t.Files - int64(len(t.Paths)); more > 0 && len(t.Paths) > 0 {
			p.text("    and %d more\n", more)
		}
	}
	switch {
	case strings.HasPrefix(f.Object, "snapshot "):
		p.text("  this snapshot is lost; the others are not touched by it\n")
	case len(f.Touches) == 0:
		p.text("  no snapshot is known to lose anything by it\n")
	}
}

// inFiles tells how many files of a tree lose something; "" of what is no tree.
func inFiles(t repo.Touch) string {
	if t.Files == 0 {
		return ""
	}
	return " in " + count(t.Files, "file")
}
