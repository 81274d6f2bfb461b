package postgres

import (
	"context"
	"errors"
	"fmt"
	"os"

	"vaultfs/internal/pg"
	"vaultfs/repo"
)

// Ingest dumps databases of a server; each becomes a snapshot of a source of
// its own. A database is given by its name, or as a connection string or URI as
// libpq knows them. One that fails does not stop the others: the snapshots that
// were made are returned beside the error.
func Ingest(ctx context.Context, r *repo.Repo, databases []string, o Options) ([]Made, error) {
	if err := o.complete(); err != nil {
		return nil, err
	}
	d := &dumper{repo: r, o: o, globals: map[string]*globals{}}
	targets, err := d.targets(ctx, databases)
	if err != nil {
		return nil, err
	}
	d.several = o.All || len(targets) > 1
	var made []Made
	var failed []error
	for _, t := range targets {
		m, err := d.ingest(ctx, t)
		if err != nil {
			failed = append(failed, err)
			if ctx.Err() != nil {
				break
			}
			continue
		}
		made = append(made, m)
	}
	return made, errors.Join(failed...)
}

// A dumper is one call of Ingest.
type dumper struct {
	repo    *repo.Repo
	o       Options
	several bool                // databases
	globals map[string]*globals // by server
}

// targets says how to reach the databases.
func (d *dumper) targets(ctx context.Context, databases []string) (targets []pg.Conn, err error) {
	switch {
	case d.o.All && len(databases) > 1:
		return nil, fmt.Errorf("%w: --all takes all databases: name none, or one to connect to first", ErrUsage)
	case d.o.All:
		return d.all(ctx, databases)
	case len(databases) == 0 && (d.o.Service != "" || os.Getenv("PGDATABASE") != "" || os.Getenv("PGSERVICE") != ""):
		databases = []string{""} // is named there
	case len(databases) == 0:
		return nil, fmt.Errorf("%w: which database? name one or several, or give --all", ErrUsage)
	}
	for _, name := range databases {
		c, err := pg.Parse(name)
		if err != nil {
			return nil, fmt.Errorf("%w: %w", ErrUsage, err)
		}
		targets = append(targets, d.o.conn(c))
	}
	return targets, nil
}

// all lists the databases of a server. That is asked in the database that was
// named, or in one that nearly every server has.
func (d *dumper) all(ctx context.Context, databases []string) (targets []pg.Conn, err error) {
	var s *pg.Session
	if len(databases) == 1 {
		c, err := pg.Parse(databases[0])
		if err != nil {
			return nil, fmt.Errorf("%w: %w", ErrUsage, err)
		}
		s, err = pg.Connect(ctx, d.o.BinDir, d.o.conn(c))
		if err != nil {
			return nil, explain("listing the databases", err)
		}
	} else if s, err = pg.ConnectAny(ctx, d.o.BinDir, d.o.conn(pg.Named(""))); err != nil {
		return nil, explain("listing the databases", err)
	}
	defer s.Close()
	names, err := s.Databases()
	if err != nil {
		return nil, explain("listing the databases", err)
	}
	if len(names) == 0 {
		return nil, errors.New("the server has no database that can be connected to: nothing to back up")
	}
	for _, name := range names {
		targets = append(targets, s.Conn.With("dbname", name))
	}
	return targets, nil
}
