package main

import (
	"fmt"
	"path/filepath"
	"time"

	"github.com/jedib0t/go-pretty/v6/table"
	"vaultfs/internal/measure"
)

// bench tells what was measured of a machine and of disks.
func (p *printer) bench(r *benchResult) {
	if p.json {
		p.object(toBenchJSON(r))
		return
	}
	if r.rates != nil && len(r.rates.Steps) > 0 {
		p.rates(r.rates, r.madeUp)
	}
	if len(r.disks) == 0 {
		return
	}
	if r.rates != nil && len(r.rates.Steps) > 0 {
		p.text("\n")
	}
	p.measuredDisks(r.disks)
	if r.schemes[0].Bytes == 0 {
		p.text("there is nothing but zeros to store\n")
	} else {
		p.text("\n")
		p.schemes(r.schemes)
		p.text("\n%s\n", r.projected())
	}
	p.remark("measured in %s, with at most %s of memory\n", round(r.took), iec(r.most))
}

// littleData is how many bytes of data the rates of a disk need to be worth much.
const littleData = 16 << 20

// rates is the table of steps.
func (p *printer) rates(r *measure.Rates, madeUp bool) {
	t := newTable("STEP", "ONE CORE", "ALL "+fmt.Sprint(r.Cores), "")
	for _, s := range r.Steps {
		t.AppendRow(table.Row{s.Step, perSecond(s.One), perSecond(s.All), aboutStep(r, s.Step, madeUp)})
	}
	p.table(t)
	if r.Limit != "" {
		p.text("bytes of the disk's data in a second; what a backup waits for most is: %s\n", r.Limit)
	}
	if r.Data < littleData {
		p.text("with only %s of data to measure with, these rates mean little\n", iec(r.Data))
	}
}

func perSecond(rate float64) string { return iec(int64(rate)) + "/s" }

// about says what is to be known of a step.
func aboutStep(r *measure.Rates, step string, madeUp bool) string {
	switch step {
	case measure.Read:
		switch {
		case madeUp:
			return "made up in memory"
		case r.Cached < 0:
			return "from the file or the page cache, as it came"
		case r.Cached < 0.02:
			return "cold"
		}
		return fmt.Sprintf("%s of the file lay in the page cache", percent(r.Cached))
	case measure.Compress:
		return "zstd, as vaultfs uses it"
	case measure.Write:
		if r.Place.Memory {
			return fmt.Sprintf("to %s, which is memory: give --tmp", r.Place.Dir)
		}
		return "to " + r.Place.Dir + ", durable"
	case measure.All:
		if r.Place == nil {
			return "but writing"
		}
	case measure.Decode:
		return "as a mount or a restore does"
	}
	return ""
}

// measuredDisks is the table of disks, each on top of those before.
func (p *printer) measuredDisks(disks []measuredDisk) {
	t := newTable("DISK", "SIZE", "DATA", "ZEROS IN IT", "CHUNKS", "NEW", "STORED", "")
	var all measure.Amount
	for i, d := range disks {
		note := ""
		switch {
		case d.Read < d.Data:
			note = "only " + iec(d.Read) + " of it read"
		case d.Later():
			note = "a later generation"
		case i > 0:
			note = "another disk"
		}
		t.AppendRow(table.Row{oneLine(filepath.Base(d.path)), iec(d.Size), iec(d.Data), iec(d.Zeros), d.Chunks, iec(d.New.Bytes), iec(d.New.Stored), note})
		all.Bytes, all.Stored = all.Bytes+d.New.Bytes, all.Stored+d.New.Stored
	}
	if len(disks) > 1 {
		t.AppendRow(table.Row{"together", "", "", "", "", iec(all.Bytes), iec(all.Stored)})
	}
	p.table(t)
}

// schemes is the table of ways to cut.
func (p *printer) schemes(schemes []measure.SchemeCost) {
	t := newTable("CUT", "DISTINCT CHUNKS", "DEDUPLICATED TO", "COMPRESSED TO", "STORED", "")
	least := int64(1)
	for i, s := range schemes {
		note := ""
		if i == 0 {
			note = "vaultfs"
		} else if schemes[0].Kept.Stored > 0 {
			note = fmt.Sprintf("%+.1f%%", 100*(float64(s.Kept.Stored)/float64(schemes[0].Kept.Stored)-1))
		}
		t.AppendRow(table.Row{schemeName(s.Scheme), s.Kept.Chunks, share100(s.Kept.Bytes, s.Bytes), share100(s.Kept.Stored, s.Kept.Bytes), iec(s.Kept.Stored), note})
		least = max(least, s.OneIn)
	}
	p.table(t)
	if least > 1 {
		p.text("reckoned from a sample: for some ways one distinct chunk in %d\n", least)
	}
}

// schemeName is "by content, 128 KiB" or "fixed, 1 MiB".
func schemeName(s measure.Scheme) string {
	size := fmt.Sprintf("%d KiB", s.Size>>10)
	if s.Size >= 1<<20 {
		size = fmt.Sprintf("%d MiB", s.Size>>20)
	}
	if s.Aligned {
		return "by content, about " + size
	}
	return "fixed, " + size
}

func share100(part, whole int64) string {
	if whole == 0 {
		return ""
	}
	return fmt.Sprintf("%.1f%%", 100*float64(part)/float64(whole))
}

// projected says what further backups would add.
func (r *benchResult) projected() string {
	g := r.growth
	if g.Observed {
		what := "the later generation added " + iec(g.Each)
		if g.Backups > 1 {
			what = fmt.Sprintf("the %d later generations added %s each", g.Backups, iec(g.Each))
		}
		return fmt.Sprintf("growth: %s; with one every %s that is %s in 30 days", what, hours(r.every), iec(g.Month))
	}
	return fmt.Sprintf("growth: if %s of the data changes every %s, a backup adds %s: %s in 30 days", share{&r.change}, hours(r.every), iec(g.Each), iec(g.Month))
}

// hours is "24h", "1h30m".
func hours(d time.Duration) string {
	if d%time.Hour == 0 {
		return fmt.Sprintf("%dh", d/time.Hour)
	}
	return d.String()
}

// moment returns what tells the moments of a long run, as they come.
func (p *printer) moment(size int64) func(measure.Moment) {
	first := true
	return func(m measure.Moment) {
		if p.json {
			p.object(momentJSON{"moment", m.After.Seconds(), m.Done, m.Rate, m.Resident})
			return
		}
		if first {
			first = false
			p.text("%10s %12s %6s %14s %12s\n", "AFTER", "DONE", "", "RATE", "MEMORY")
		}
		p.text("%10s %12s %6s %14s %12s\n", m.After.Round(time.Second), iec(m.Done), share100(m.Done, size), perSecond(m.Rate), iec(m.Resident))
	}
}

// lasting tells what came of a long run.
func (p *printer) lasting(r *measure.Lasting, size int64, place *measure.Place) {
	if p.json {
		p.object(lastingJSON{"summary", size, r.Done, r.Complete, r.Took.Seconds(), r.Bytes, r.Stored, r.Chunks, r.Most, r.Forgets})
		return
	}
	rate := float64(r.Done) / max(r.Took.Seconds(), 1e-9)
	p.text("%s of %s in %s, %s; at most %s of memory\n", iec(r.Done), iec(size), round(r.Took), perSecond(rate), iec(r.Most))
	wrote := "would take"
	if place != nil {
		wrote = "took, written to " + place.Dir + ","
	}
	p.text("%s of it in %s were new and %s %s\n", share100(r.Bytes, r.Done), count(r.Chunks, "chunk"), wrote, iec(r.Stored))
	if r.Forgets {
		p.text("for a disk of this size not every chunk is remembered: some that repeat counted as new\n")
	}
}
