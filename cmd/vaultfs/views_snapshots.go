package main

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/jedib0t/go-pretty/v6/text"

	"vaultfs/repo"
)

func (p *printer) snapshots(all []*repo.Snapshot) {
	if p.json {
		j := []snapshotJSON{}
		for _, s := range all {
			j = append(j, toSnapshotJSON(s))
		}
		p.object(j)
		return
	}
	if len(all) == 0 {
		p.remark("there are no snapshots yet\n")
		return
	}
	header := []any{"ID", "TIME", "SOURCE", "ITEMS", "SIZE", "NEW", "STORED", "VERIFIED"}
	tagged := slices.ContainsFunc(all, func(s *repo.Snapshot) bool { return len(s.Tags) > 0 })
	if tagged {
		header = append(header, "TAGS")
	}
	t := newTable(header...)
	t.SetColumnConfigs([]table.ColumnConfig{
		{Number: 5, Align: text.AlignRight, AlignHeader: text.AlignRight},
		{Number: 6, Align: text.AlignRight, AlignHeader: text.AlignRight},
		{Number: 7, Align: text.AlignRight, AlignHeader: text.AlignRight},
	})
	for _, s := range all {
		row := table.Row{s.Short(), localTime(s.Time), s.Source, itemNames(s), iec(s.Size()),
			iec(s.Info.Summary.BytesNew), iec(s.Info.Summary.BytesStored), yesNo(wasVerified(s))}
		if tagged {
			row = append(row, strings.Join(s.Tags, ", "))
		}
		t.AppendRow(row)
	}
	p.table(t)
}

// wasVerified tells whether what was written was read back. The ingesters say
// "not …" when it was not.
func wasVerified(s *repo.Snapshot) bool {
	return s.Info.Verified != "" && !strings.HasPrefix(s.Info.Verified, "not ")
}

func itemNames(s *repo.Snapshot) string {
	if len(s.Items) == 1 && s.Items[0].Name == repo.WholeTree {
		return count(s.Info.Summary.Files, "file")
	}
	var names []string
	for _, it := range s.Items {
		names = append(names, it.Name)
	}
	const most = 4
	if len(names) > most {
		names = append(names[:most], "…")
	}
	return strings.Join(names, " ")
}

func (p *printer) snapshot(s *repo.Snapshot) {
	if p.json {
		p.object(toSnapshotJSON(s))
		return
	}
	t := newTable()
	fact := func(name, value string) {
		if value != "" {
			t.AppendRow(table.Row{name, value})
		}
	}
	fact("snapshot", s.ID)
	fact("source", fmt.Sprintf("%s (number %d)", s.Source, s.Seq))
	fact("time", fmt.Sprintf("%s (%s)", localTime(s.Time), s.Time.UTC().Format(time.RFC3339)))
	fact("tags", strings.Join(s.Tags, ", "))
	fact("previous", s.Previous)
	fact("host", s.Info.Host)
	fact("machine", s.Info.Machine)
	fact("made by", s.Info.Program)
	fact("mode", s.Info.Mode)
	fact("method", s.Info.Method)
	fact("quiesced", s.Info.Quiesced)
	fact("verified", s.Info.Verified)
	fact("files", filesFact(s))
	fact("of these", changesFact(s))
	fact("read", readFact(s))
	fact("new", newFact(s))
	for _, note := range s.Info.Notes {
		fact("note", note)
	}
	p.table(t)
	t = newTable("ITEM", "KIND", "BYTES", "FORMAT", "FROM", "NOTE")
	t.SetColumnConfigs([]table.ColumnConfig{{Number: 3, Align: text.AlignRight, AlignHeader: text.AlignRight}})
	for _, it := range s.Items {
		t.AppendRow(table.Row{it.Name, it.Kind, it.Size, it.Format, it.Path, it.Note})
	}
	p.text("\n")
	p.table(t)
	t = newTable()
	for _, it := range s.Items {
		if it.How != "" {
			t.AppendRow(table.Row{it.Name, howFact(it)})
		}
		if it.Checkpoint != "" && it.Kind == repo.ItemDisk {
			t.AppendRow(table.Row{it.Name, "the next backup can start from the checkpoint " + it.Checkpoint})
		}
	}
	if t.Length() > 0 {
		p.text("\n")
		p.table(t)
	}
}

// filesFact tells what the trees hold; "" if there is none.
func filesFact(s *repo.Snapshot) string {
	m := s.Info.Summary
	if m.Files == 0 && m.Dirs == 0 && m.Others == 0 {
		return ""
	}
	fact := fmt.Sprintf("%s in %s", count(m.Files, "file"), directories(m.Dirs))
	if m.Others > 0 {
		fact += fmt.Sprintf(", and %s", others(m.Others))
	}
	return fact
}

func directories(n int64) string {
	if n == 1 {
		return "1 directory below the root"
	}
	return fmt.Sprintf("%d directories below the root", n)
}

func others(n int64) string {
	if n == 1 {
		return "1 symbolic link or special file"
	}
	return fmt.Sprintf("%d symbolic links and special files", n)
}

// changesFact tells how the files compare with those of the snapshot before; "" if
// nobody has compared them.
func changesFact(s *repo.Snapshot) string {
	m := s.Info.Summary
	var facts []string
	for _, f := range []struct {
		n    int64
		what string
	}{{m.FilesNew, "new"}, {m.FilesChanged, "changed"}, {m.FilesUnchanged, "unchanged"}, {m.FilesUnread, "that could not be read"}} {
		if f.n > 0 {
			facts = append(facts, fmt.Sprintf("%d %s", f.n, f.what))
		}
	}
	return strings.Join(facts, ", ")
}

// howFact tells how much of a disk was read, and why.
func howFact(it repo.Item) string {
	dirty := ""
	if it.Dirty > 0 {
		dirty = fmt.Sprintf(", %s called changed", iec(it.Dirty))
	}
	return fmt.Sprintf("%s; %s read%s, %s new, stored as %s", it.How, iec(it.Read), dirty, iec(it.New), iec(it.Stored))
}

func readFact(s *repo.Snapshot) string {
	m := s.Info.Summary
	took := time.Duration(m.Milliseconds) * time.Millisecond
	fact := fmt.Sprintf("%s of %s in %s", iec(m.BytesRead), iec(m.BytesTotal), round(took))
	if took > 0 && m.BytesRead > 0 {
		fact += fmt.Sprintf(", %s/s", iec(int64(float64(m.BytesRead)/took.Seconds())))
	}
	return fact
}

// newFact tells what was stored, and how much less that is than what was read.
func newFact(s *repo.Snapshot) string {
	m := s.Info.Summary
	fact := fmt.Sprintf("%s in %d of %d chunks, stored as %s", iec(m.BytesNew), m.ChunksNew, m.ChunksTotal, iec(m.BytesStored))
	if m.BytesStored > 0 && m.BytesRead > m.BytesStored {
		fact += fmt.Sprintf(", %.1f times less than was read", float64(m.BytesRead)/float64(m.BytesStored))
	}
	return fact
}
