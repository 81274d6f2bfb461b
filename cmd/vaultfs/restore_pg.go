package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"vaultfs/fusefs"
	"vaultfs/repo"
	"vaultfs/restore"
	"vaultfs/restore/postgres"
)

// pgOptions are the flags of a restore that makes a PostgreSQL database.
type pgOptions struct {
	database string
	postgres.Options
}

// pgFlags are those that need --to-db.
var pgFlags = []string{"host", "port", "username", "service", "pg-bindir", "jobs", "no-owner", "create-roles"}

func (o *pgOptions) addTo(c *cobra.Command) {
	f := c.Flags()
	f.StringVar(&o.database, "to-db", "", "make the PostgreSQL database `NAME` of a dump")
	addServer(c, &o.Host, &o.Port, &o.User, &o.Service, &o.BinDir)
	f.IntVar(&o.Jobs, "jobs", 1, "with --to-db: restore `N` tables and indexes at once")
	f.BoolVar(&o.NoOwner, "no-owner", false, "with --to-db: all belongs to who restores, and no privileges are granted")
	f.BoolVar(&o.CreateRoles, "create-roles", false, "with --to-db: make missing roles as globals.sql has them")
	for _, name := range pgFlags[:5] {
		f.Lookup(name).Usage = "with --to-db: " + f.Lookup(name).Usage
	}
	_ = c.RegisterFlagCompletionFunc("to-db", cobra.NoFileCompletions)
}

// check refuses flags that do not go together.
func (o *pgOptions) check(c *cobra.Command) error {
	given := c.Flags().Changed("to-db")
	for _, name := range pgFlags {
		if c.Flags().Changed(name) && !given {
			return usage(c, "--%s needs --to-db", name)
		}
	}
	if !given {
		return nil
	}
	for _, name := range []string{"to", "define", "format", "force"} {
		if c.Flags().Changed(name) {
			return usage(c, "--to-db and --%s exclude each other", name)
		}
	}
	switch {
	case o.database == "":
		return usage(c, "--to-db is empty")
	case strings.ContainsRune(o.database, 0):
		return usage(c, "--to-db holds a zero byte")
	case o.Jobs < 1 || o.Jobs > 256:
		return usage(c, "--jobs %d: want 1 to 256", o.Jobs)
	case o.NoOwner && o.CreateRoles:
		return usage(c, "--no-owner and --create-roles exclude each other")
	}
	return nil
}

// restoreToDB makes a database.
func (a *app) restoreToDB(c *cobra.Command, r *repo.Repo, arg string, o pgOptions) error {
	ctx := c.Context()
	a.onInterrupt = "; the database that was being made was dropped again"
	snap, path, err := resolvePath(ctx, r, arg)
	if err != nil {
		return err
	}
	if path != "" {
		return usage(c, "--to-db restores a whole snapshot: leave out the path %q", path)
	}
	begin := time.Now()
	o.Database, o.Progress = o.database, new(restore.Progress)
	o.File = func(ctx context.Context, snap *repo.Snapshot, it repo.Item) (string, func() error, error) {
		return a.mountedDump(ctx, r, snap)
	}
	stop := a.restoring(o.Progress)
	result, err := postgres.Restore(ctx, r, snap, o.Options)
	stop()
	if err != nil {
		return err
	}
	a.print.restoredDB(snap, result, time.Since(begin))
	if len(result.Differences) > 0 || result.Failed != nil {
		return &statusError{status: statusPartial}
	}
	return nil
}

// mountedDump mounts a snapshot of a database where nobody else sees it, and
// returns the path of its dump.
func (a *app) mountedDump(ctx context.Context, r *repo.Repo, snap *repo.Snapshot) (path string, release func() error, err error) {
	dir, err := os.MkdirTemp("", "vaultfs-restore-*")
	if err != nil {
		return "", nil, err
	}
	server, err := fusefs.Mount(ctx, only{fusefs.FromRepo(r), []*repo.Snapshot{snap}}, dir, fusefs.Options{Exclude: a.repoPath})
	if err != nil {
		return "", nil, errors.Join(fmt.Errorf("--jobs needs a mount of the dump: %w; leave out --jobs to do without", err), os.Remove(dir))
	}
	release = func() error { return errors.Join(server.Unmount(), os.Remove(dir)) }
	err = filepath.WalkDir(dir, func(p string, d fs.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() && strings.HasSuffix(p, ".dump") {
			path = p
		}
		return err
	})
	if err == nil && path == "" {
		err = errors.New("the mount does not show the dump")
	}
	if err != nil {
		return "", nil, errors.Join(err, release())
	}
	return path, release, nil
}

// restoredDBJSON ends a restore with --to-db.
type restoredDBJSON struct {
	Event       string   `json:"event"` // "summary"
	Snapshot    string   `json:"snapshot"`
	Database    string   `json:"database"`
	Host        string   `json:"host"`
	Port        string   `json:"port"`
	Server      string   `json:"server"`
	Bytes       int64    `json:"bytes"` // of the dump
	Roles       []string `json:"roles"` // that were made
	Compared    bool     `json:"compared"`
	Same        int      `json:"tables_same"`
	Rows        int64    `json:"rows_same"`
	Differences []string `json:"differences"`
	Unknown     []string `json:"tables_not_counted"`
	Notes       []string `json:"notes"`
	Seconds     float64  `json:"seconds"`
}

// restoredDB tells of a database that was made.
func (p *printer) restoredDB(s *repo.Snapshot, r *postgres.Result, took time.Duration) {
	differences := r.Differences
	if r.Failed != nil {
		differences = []string{r.Failed.Error()}
	}
	if p.json {
		p.object(restoredDBJSON{"summary", s.ID, r.Database, r.Host, r.Port, r.Server, r.Size, list(r.Roles), r.Done, r.Same, r.Rows,
			list(differences), list(r.Unknown), list(r.Notes), took.Seconds()})
		return
	}
	if r.Failed != nil {
		p.warn(fmt.Sprintf("database %q: %v", r.Database, r.Failed))
	}
	for _, d := range r.Differences {
		p.warn(fmt.Sprintf("database %q: %s", r.Database, d))
	}
	p.remark("restored the database %s on %s, port %s, from snapshot %s of %s, %s: %s in %s\n", r.Database, r.Host, r.Port, s.Short(), s.Source, localTime(s.Time), iec(r.Size), round(took))
	if len(r.Roles) > 0 {
		p.remark("made the roles %s\n", strings.Join(r.Roles, ", "))
	}
	for _, n := range r.Notes {
		p.remark("note     %s\n", n)
	}
	switch {
	case r.Failed != nil: // warned of
	case !r.Done:
		p.remark("compared nothing: the snapshot does not tell how many rows there were\n")
	case len(r.Differences) > 0:
		p.remark("compared: %d tables have the rows that they had, %d differ\n", r.Same, len(r.Differences))
	default:
		p.remark("compared: all %d tables that were counted have the rows that they had, %d in all\n", r.Same, r.Rows)
	}
	if len(r.Unknown) > 0 {
		p.remark("not compared, since they were not counted: %s\n", strings.Join(r.Unknown, ", "))
	}
}
