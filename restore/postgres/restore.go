package postgres

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"vaultfs/internal/pg"
	"vaultfs/repo"
	"vaultfs/restore"
)

// Restore makes the database that Options names out of a snapshot. After an
// error it does not exist.
func Restore(ctx context.Context, r *repo.Repo, snap *repo.Snapshot, o Options) (*Result, error) {
	if o.Progress == nil {
		o.Progress = new(restore.Progress)
	}
	pin, err := r.Pin(ctx, "restore", snap)
	if err != nil {
		return nil, err
	}
	defer pin.Release(context.WithoutCancel(ctx))
	j := &job{repo: r, snap: snap, o: o}
	if err := j.look(ctx); err != nil {
		return nil, err
	}
	s, err := pg.ConnectAny(ctx, o.BinDir, o.conn(""))
	if err != nil {
		return nil, explain("connecting to the server", err)
	}
	defer s.Close()
	j.server = s
	if err := j.prepare(ctx); err != nil {
		return nil, err
	}
	if err := j.make(ctx); err != nil {
		return nil, err
	}
	c, err := j.compare(ctx)
	switch {
	case ctx.Err() != nil:
		return nil, errors.Join(ctx.Err(), j.undo(ctx))
	case err != nil:
		c = Comparison{Failed: explain("its rows could not be compared with those of the dump", err)}
	}
	j.result.Comparison = c
	return &j.result, nil
}

// A job is one restore.
type job struct {
	repo     *repo.Repo
	snap     *repo.Snapshot
	o        Options
	report   pg.Report
	dump     repo.Item
	globals  string
	server   *pg.Session // to a database that was there before
	version  pg.Server
	programs *pg.Programs
	made     bool     // the database
	missing  []role   // to be made
	roles    []string // that were made
	result   Result
}

// maxReport bounds what is read into memory, in bytes.
const maxReport = 256 << 20

// look reads what the snapshot tells.
func (j *job) look(ctx context.Context) error {
	for _, it := range j.snap.Items {
		switch {
		case it.Kind != repo.ItemFile:
		case it.Name == pg.ReportName:
			b, err := j.read(ctx, it)
			if err != nil {
				return err
			}
			if err := json.Unmarshal(b, &j.report); err != nil {
				return fmt.Errorf("%s of the snapshot %s cannot be understood: %w", pg.ReportName, j.snap.Short(), err)
			}
		case it.Name == pg.GlobalsName:
			b, err := j.read(ctx, it)
			if err != nil {
				return err
			}
			j.globals = string(b)
		}
	}
	it := j.snap.Item(j.report.Dump.Item)
	if j.report.Dump.Item == "" || it == nil {
		return fmt.Errorf("the snapshot %s of %s %w", j.snap.Short(), j.snap.Source, ErrNoDump)
	}
	j.dump = *it
	return j.checkScript(ctx)
}

func (j *job) read(ctx context.Context, it repo.Item) ([]byte, error) {
	if it.Size > maxReport {
		return nil, fmt.Errorf("%s of the snapshot %s has %d bytes: too many to be read", it.Name, j.snap.Short(), it.Size)
	}
	f, err := j.repo.OpenFile(ctx, it)
	if err != nil {
		return nil, err
	}
	b := make([]byte, f.Size())
	if _, err := io.ReadFull(io.NewSectionReader(f, 0, f.Size()), b); err != nil {
		return nil, err
	}
	return b, nil
}

// prepare refuses early what cannot succeed.
func (j *job) prepare(ctx context.Context) (err error) {
	if j.version, err = j.server.Server(); err != nil {
		return explain("asking the server for its version", err)
	}
	if j.programs, err = pg.Newest(ctx, j.o.BinDir); err != nil {
		return err
	}
	if same, err := pg.Find(ctx, j.o.BinDir, j.version.Number); err == nil && j.programs.Version.Major() > same.Version.Major() && !j.newer(same) {
		j.programs = same // what it sends the server understands
	}
	var there struct {
		N       int
		Comment string
	}
	if err := j.server.Row("SELECT row_to_json(t) FROM (SELECT count(*) AS n, max(shobj_description(oid, 'pg_database')) AS comment FROM pg_database WHERE datname = "+pg.Literal(j.o.Database)+") t", &there); err != nil {
		return explain("listing the databases", err)
	}
	switch {
	case there.N > 0 && there.Comment == unfinished:
		return fmt.Errorf("the database %q, of a restore that was killed or is still at work, %w", j.o.Database, ErrExists)
	case there.N > 0:
		return fmt.Errorf("the database %q %w", j.o.Database, ErrExists)
	}
	j.result = Result{Database: j.o.Database, Host: j.server.Host, Port: j.server.Port, Server: j.version.Version, Dump: j.dump.Name, Size: j.dump.Size}
	if from := j.report.Server.Number; from.Major() > j.version.Number.Major() {
		j.result.Notes = append(j.result.Notes, fmt.Sprintf("the dump is of a server of version %s, this one is %s: what is new in the former, the latter refuses", from, j.version.Number))
	}
	if of := j.report.Dump.OfDatabase; len(of) > 0 {
		j.result.Notes = append(j.result.Notes, fmt.Sprintf("what the dump holds of the database itself (%s) is not restored: `pg_restore --create --schema-only --file=- %s` shows its GRANT, COMMENT ON and ALTER DATABASE",
			strings.Join(of, ", "), j.dump.Name))
	}
	return j.prepareRoles(ctx)
}

// newer tells whether the dump was made by a newer pg_dump than p are of, which
// p may not read.
func (j *job) newer(p *pg.Programs) bool {
	_, printed, _ := strings.Cut(j.report.Dump.Program, "pg_dump ")
	v, ok := pg.ParseVersion("(PostgreSQL) " + strings.TrimPrefix(printed, "(PostgreSQL) "))
	return !ok || v.Major() > p.Version.Major()
}

// make makes and fills the database, or leaves nothing.
func (j *job) make(ctx context.Context) error {
	err := j.create(ctx)
	if err == nil {
		err = j.fill(ctx)
	}
	if ctx.Err() != nil {
		err = ctx.Err()
	}
	if err != nil {
		return errors.Join(err, j.undo(ctx))
	}
	j.result.Roles = j.roles
	if err := j.unmark(ctx); err != nil {
		j.result.Notes = append(j.result.Notes, fmt.Sprintf("it is complete, and its comment could not be taken back that says otherwise: %v", err))
	}
	return nil
}

// create makes the roles and the database. It is not interrupted, so that it is
// known what was made.
func (j *job) create(ctx context.Context) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	s, err := pg.Connect(context.WithoutCancel(ctx), j.o.BinDir, j.server.Conn)
	if err != nil {
		return explain("connecting to the server", err)
	}
	defer s.Close()
	if err := j.makeRoles(s); err != nil {
		return err
	}
	return j.makeDatabase(s)
}

func (j *job) makeDatabase(s *pg.Session) error {
	sql := "CREATE DATABASE " + pg.Ident(j.o.Database) + " TEMPLATE template0"
	f := j.report.Facts
	option := func(name, value string) {
		if value != "" {
			sql += " " + name + " " + pg.Literal(value)
		}
	}
	option("ENCODING", f.Encoding)
	option("LC_COLLATE", f.Collate)
	option("LC_CTYPE", f.CType)
	switch {
	case f.Provider == "icu" && j.version.Number >= 150000:
		sql += " LOCALE_PROVIDER icu"
		option("ICU_LOCALE", f.Locale)
	case f.Provider == "builtin" && j.version.Number >= 170000:
		sql += " LOCALE_PROVIDER builtin"
		option("BUILTIN_LOCALE", f.Locale)
	}
	err := s.Do(sql)
	if refused := (*pg.SQLError)(nil); err != nil && !errors.As(err, &refused) {
		return fmt.Errorf("making the database %q: %w: whether it is there now `psql -l` tells; drop it before you run this again", j.o.Database, err)
	}
	if err != nil {
		return explain(fmt.Sprintf("making the database %q", j.o.Database), err)
	}
	j.made = true
	return explain(fmt.Sprintf("marking the database %q", j.o.Database), s.Do(j.comment(pg.Literal(unfinished))))
}

// unfinished is the comment of a database that is being restored, so that one
// whose restore was killed is known.
const unfinished = "vaultfs is restoring this database: it is not complete"

// unmark takes that comment back. The first session may be long gone: it had
// nothing to do while the database was filled.
func (j *job) unmark(ctx context.Context) error {
	s, err := pg.Connect(ctx, j.o.BinDir, j.server.Conn)
	if err != nil {
		return err
	}
	defer s.Close()
	return s.Do(j.comment("NULL"))
}

func (j *job) comment(literal string) string {
	return "COMMENT ON DATABASE " + pg.Ident(j.o.Database) + " IS " + literal
}

// undo drops what was made.
func (j *job) undo(ctx context.Context) error {
	if !j.made && len(j.roles) == 0 {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Minute)
	defer cancel()
	s, err := pg.Connect(ctx, j.o.BinDir, j.server.Conn)
	if err != nil {
		return fmt.Errorf("what was made could not be removed again, the database %q and the roles %s: %w", j.o.Database, orNone(j.roles), err)
	}
	defer s.Close()
	var failed []error
	if j.made {
		// Whoever filled it may not have left yet.
		_ = s.Do("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = " + pg.Literal(j.o.Database))
		err := s.Do("DROP DATABASE " + pg.Ident(j.o.Database))
		for i := 0; err != nil && i < 50 && ctx.Err() == nil; i++ {
			time.Sleep(100 * time.Millisecond)
			err = s.Do("DROP DATABASE " + pg.Ident(j.o.Database))
		}
		if err != nil {
			failed = append(failed, fmt.Errorf("the database %q, half restored, could not be dropped again: %w", j.o.Database, err))
		}
	}
	for _, role := range j.roles {
		if err := s.Do("DROP ROLE " + pg.Ident(role)); err != nil {
			failed = append(failed, fmt.Errorf("the role %q, which was made, could not be dropped again: %w", role, err))
		}
	}
	return errors.Join(failed...)
}

func orNone(list []string) string {
	if len(list) == 0 {
		return "(none)"
	}
	return strings.Join(list, ", ")
}
