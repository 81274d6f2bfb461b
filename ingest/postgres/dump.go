package postgres

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"vaultfs/internal/pg"
	"vaultfs/internal/pgarchive"
	"vaultfs/repo"
)

// dumpOptions are those that every dump is made with. Not compressed, the dumps
// of successive days share what did not change.
var dumpOptions = []string{"--format=custom", "--compress=0"}

// ingest makes the snapshot of one database.
func (d *dumper) ingest(ctx context.Context, target pg.Conn) (Made, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel() // before the session below is closed, so that the server hears of it
	what := "dumping the database"
	if name := target.Get("dbname"); name != "" {
		what = fmt.Sprintf("dumping the database %q", name)
	}
	s, err := pg.Connect(ctx, d.o.BinDir, target)
	if err != nil {
		return Made{}, explain(what, err)
	}
	defer s.Close()
	m, err := d.prepare(ctx, s)
	if err != nil {
		return Made{}, explain(what, err)
	}
	m.cancel = cancel
	made, err := m.make(ctx)
	return made, explain2(what, err)
}

// explain2 is explain of an error that may be none.
func explain2(what string, err error) error {
	if err == nil {
		return nil
	}
	return explain(what, err)
}

// A dump is a snapshot of a database in the making.
type dump struct {
	*dumper
	server   *pg.Session
	programs *pg.Programs
	globals  *globals
	report   pg.Report
	cancel   func() // ends everything that is under way
	session  *repo.Session
	item     repo.Item // of the dump
	known    bool      // the format of the archive was known to us, and it is whole
	notes    []string
	warnings []string
}

// prepare asks the server what it is, and finds what can dump it.
func (d *dumper) prepare(ctx context.Context, s *pg.Session) (*dump, error) {
	m := &dump{dumper: d, server: s}
	var err error
	if m.report.Facts, err = s.Facts(); err != nil {
		return nil, err
	}
	if m.programs, err = pg.Find(ctx, d.o.BinDir, m.report.Server.Number); err != nil {
		return nil, err
	}
	if m.globals, err = d.globalsOf(ctx, s, m.programs); err != nil {
		return nil, err
	}
	if m.globals.lacks != "" {
		m.warnings = append(m.warnings, m.globals.lacks)
	}
	m.report.Globals = m.globals.says
	unlogged, err := s.Unlogged()
	if err != nil {
		return nil, err
	}
	if len(unlogged) > 0 {
		m.warnings = append(m.warnings, fmt.Sprintf("this server is a standby, which does not have the rows of unlogged tables, nor has the dump: %s; dump the primary to have them", names(unlogged)))
	}
	return m, nil
}

// names lists tables, but not thousands.
func names(tables []pg.Table) string {
	const most = 10
	var list []string
	for _, t := range tables[:min(most, len(tables))] {
		list = append(list, t.String())
	}
	if more := len(tables) - most; more > 0 {
		list = append(list, fmt.Sprintf("and %d more", more))
	}
	return strings.Join(list, ", ")
}

// source is the name of the source.
func (m *dump) source() string {
	switch {
	case m.o.Name == "":
		return sourceName(m.server.Host, m.server.Port, m.report.Database)
	case m.several:
		return Kind + "/" + m.o.Name + "/" + component(m.report.Database)
	}
	return Kind + "/" + m.o.Name
}

func (m *dump) make(ctx context.Context) (made Made, err error) {
	machine := ""
	if id := m.report.Server.System; id != "" {
		machine = "PostgreSQL cluster " + id
	}
	m.session, err = m.repo.NewSession(ctx, repo.SessionOptions{Source: m.source(), Kind: Kind, Machine: machine, Adopt: m.o.Adopt, Tags: m.o.Tags,
		Time: time.Now(), Verify: m.o.Verify, Inspect: m.inspect})
	if err != nil {
		return made, err
	}
	defer m.session.Abort(ctx)
	if err := m.store(ctx); err != nil {
		return made, err
	}
	info := repo.Info{Program: m.o.Program, Mode: "live", Method: "pg_dump", Notes: append(m.notes, m.warnings...)}
	info.Summary.BytesRead = m.item.Size
	made.Snapshot, err = m.session.Commit(ctx, info)
	made.Warnings = m.warnings
	return made, err
}

// store dumps the database, and counts its rows meanwhile.
func (m *dump) store(ctx context.Context) error {
	begun := time.Now()
	snapshot, err := m.server.Begin(m.report.Server)
	var refused *pg.SQLError
	switch {
	case errors.As(err, &refused):
		m.notes = append(m.notes, "rows were not counted: "+err.Error())
	case err != nil:
		return err
	}
	counted := make(chan error, 1)
	if snapshot == "" || m.o.NoCounts {
		counted <- nil
	} else {
		go func() { counted <- m.count(begun.Add(m.o.CountTime)) }()
	}
	if err := m.dump(ctx, snapshot); err != nil {
		m.cancel()
		<-counted // uses the server's session, which is closed next
		return err
	}
	m.report.Dump.Time, m.report.Dump.Seconds = begun, time.Since(begun).Seconds()
	if err := <-counted; err != nil {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		m.notes = append(m.notes, "rows were not counted: "+err.Error())
		m.report.Tables = nil
	}
	return m.storeRest(ctx)
}

// count counts the rows of all tables.
func (m *dump) count(deadline time.Time) error {
	tables, err := m.server.Tables()
	if err != nil {
		return err
	}
	if err := m.server.Count(tables, deadline); err != nil {
		return err
	}
	pg.SortTables(tables)
	m.report.Tables = tables
	return nil
}

// dump runs pg_dump into the repository.
func (m *dump) dump(ctx context.Context, snapshot string) error {
	run := append(append(m.server.Conn.Arguments(), "--no-password"), dumpOptions...)
	if snapshot != "" {
		run = append(run, "--snapshot="+snapshot)
	}
	if m.o.LockWait > 0 {
		run = append(run, fmt.Sprintf("--lock-wait-timeout=%d", max(1, m.o.LockWait.Milliseconds())))
	}
	p := pg.Command(ctx, m.server.Conn, m.programs.Path("pg_dump"), run...)
	m.report.Dump.Item = component(m.report.Database) + ".dump"
	m.report.Dump.Form, m.report.Dump.Program, m.report.Dump.Options = pg.Custom, m.programs.Printed, dumpOptions
	err := p.Read(func(r io.Reader) (err error) {
		m.item, m.known, err = putArchive(ctx, m.session, &m.report, m.o.Progress.Reader(r))
		return err
	})
	if err != nil {
		return err
	}
	if said := p.Said(); said != "" {
		m.notes = append(m.notes, "pg_dump: "+said)
	}
	return m.session.AddItem(m.item)
}

// storeRest stores what belongs to the dump.
func (m *dump) storeRest(ctx context.Context) error {
	if m.globals.script != nil {
		if err := addFile(ctx, m.session, pg.GlobalsName, m.globals.script); err != nil {
			return err
		}
	}
	return addReport(ctx, m.session, &m.report)
}

// inspect has pg_restore read what was stored.
func (m *dump) inspect(ctx context.Context, open func(repo.Item) (*repo.File, error)) error {
	return readBack(ctx, m.programs, m.item, m.known, open)
}

// putArchive stores an archive, and fails if it is not whole. Known is false if
// its version is newer than what can be looked through here.
func putArchive(ctx context.Context, s *repo.Session, report *pg.Report, r io.Reader) (it repo.Item, known bool, err error) {
	pass, check := newChecked(r)
	root, size, err := s.PutStream(ctx, pass)
	sum, wrong := check.end(err)
	known = !errors.Is(wrong, pgarchive.ErrNewer)
	switch {
	case wrong != nil && known:
		return it, known, wrong
	case err != nil:
		return it, known, err
	}
	report.Dump.Size, report.Dump.Compression, report.Dump.Owners, report.Dump.OfDatabase = size, sum.Compression, sum.Owners, sum.OfDatabase
	it = repo.Item{Name: report.Dump.Item, Kind: repo.ItemFile, Size: size, Root: root}
	it.Format = report.Dump.Form
	return it, known, nil
}
