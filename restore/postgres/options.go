package postgres

import (
	"context"
	"errors"
	"time"

	"vaultfs/internal/pg"
	"vaultfs/repo"
	"vaultfs/restore"
)

// Errors that callers tell apart, with errors.Is.
var (
	ErrExists = errors.New("exists already, and nothing is restored into a database that exists: choose another name, or drop it first")
	ErrNoDump = errors.New("holds no dump of a database")
)

// Options says where a database is restored to, and how.
type Options struct {
	Database string // its name; it is made

	// The server; what is "" is left to libpq.
	Host, Port, User, Service string

	BinDir      string // where PostgreSQL's programs are; "" looks for them
	Jobs        int    // tables and indexes that are restored at once; less than 2 is one after the other
	NoOwner     bool   // everything belongs to who restores, and no privileges are granted
	CreateRoles bool   // make the roles of globals.sql that are missing

	// File gives a stored file a path, until release is called: several jobs each
	// read where they want. Needed with Jobs only.
	File     func(ctx context.Context, snap *repo.Snapshot, it repo.Item) (path string, release func() error, err error)
	Progress *restore.Progress // may be nil
}

// A Result is a database that was restored.
type Result struct {
	Database   string
	Host, Port string // of the server
	Server     string // its version
	Dump       string // the item
	Size       int64  // of the dump, in bytes
	Roles      []string
	Notes      []string
	Comparison
}

// countTime is how long rows are counted for the comparison.
const countTime = 10 * time.Minute

// A Comparison is how the database compares with what was dumped.
type Comparison struct {
	Same        int      // tables that have as many rows as they had
	Rows        int64    // in these
	Differences []string // a sentence each
	Unknown     []string // tables that were not counted, then or now
	// Done is false if the snapshot does not tell of any rows.
	Done bool
	// Failed is why nothing could be compared, although the database was restored.
	Failed error
}

// conn is how to reach a database of the server.
func (o *Options) conn(database string) pg.Conn {
	return pg.Named(database).Or("host", o.Host).Or("port", o.Port).Or("user", o.User).Or("service", o.Service)
}
