package main

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

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
			f.took.Seconds(), toFindingsJSON(append(f.Findings, f.images...))}, f.newer(), toTurnJSON(f)})
		return
	}
	for _, finding := range f.Findings {
		p.finding(finding)
	}
	for _, image := range f.images {
		p.text("%s: %v\n", image.Object, image.Err)
	}
	p.remark("%s\n", f.proved())
	if f.partly {
		p.remark("%s\n", f.turn(time.Now()))
	}
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

// turn tells how far a run over a part of the data has come.
func (f *proof) turn(now time.Time) string {
	t := f.Turn
	if t.Packs.Packs == 0 {
		return "there is no data to read yet"
	}
	said := fmt.Sprintf("that is %s of %s; ", percent(f.covered()), iec(t.Packs.Bytes))
	switch {
	case t.Unread.Packs > 0:
		said += fmt.Sprintf("never read so far: %s (%s)", count(int64(t.Unread.Packs), "pack"), iec(t.Unread.Bytes))
	default:
		said += "all was read at some time, the oldest " + ago(now, t.Oldest)
	}
	if t.Runs > 1 {
		said += fmt.Sprintf("\n%d runs like this one read everything once", t.Runs)
	}
	return said
}

// percent writes a share.
func percent(share float64) string {
	if share > 0 && share < 0.001 {
		return "less than 0.1%"
	}
	return strconv.FormatFloat(math.Floor(share*1000)/10, 'f', -1, 64) + "%"
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
	case f.Unneeded:
		p.text("  no snapshot needs what is damaged; `vaultfs gc` removes it\n")
	case strings.HasPrefix(f.Object, "ledger "):
		p.text("  it only said when data was last read; `vaultfs verify --sample 1%%` puts the record in order\n")
	case strings.HasPrefix(f.Object, "policy/"):
		p.text("  no snapshot is touched by it; `vaultfs policy set` makes a new policy\n")
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
