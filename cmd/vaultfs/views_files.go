package main

import (
	"time"

	"vaultfs/repo"
	"vaultfs/restore"
)

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
