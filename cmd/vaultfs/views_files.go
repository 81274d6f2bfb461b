package main

import (
	"time"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/jedib0t/go-pretty/v6/text"

	"vaultfs/repo"
	"vaultfs/restore"
)

func (p *printer) entries(entries []entry) {
	if p.json {
		j := []entryJSON{}
		for _, e := range entries {
			j = append(j, entryJSON{e.path, e.item.Name, e.item.Kind, e.format, e.size})
		}
		p.object(j)
		return
	}
	t := newTable("BYTES", "PATH")
	t.SetColumnConfigs([]table.ColumnConfig{{Number: 1, Align: text.AlignRight, AlignHeader: text.AlignRight}})
	for _, e := range entries {
		t.AppendRow(table.Row{e.size, e.path})
	}
	p.table(t)
}

// kept tells what is there after a restore that failed on the way.
func (p *printer) kept(written []*restore.Written) {
	if p.json {
		return // the error follows on standard error; what is whole is seen in the directory
	}
	for _, w := range written {
		p.remark("restored %s\n", w.Path)
	}
}

func (p *printer) restored(s *repo.Snapshot, written []*restore.Written, took time.Duration) {
	if p.json {
		p.object(restoreJSON{"summary", s.ID, toWrittenJSON(written), took.Seconds()})
		return
	}
	p.writtenFiles(written)
	p.remark("snapshot %s of %s, %s, in %s\n", s.Short(), s.Source, localTime(s.Time), round(took))
}
