package postgres

import (
	"errors"
	"fmt"
	"strconv"
	"time"

	"vaultfs/ingest"
	"vaultfs/internal/pg"
	"vaultfs/repo"
)

// Kind is the kind of the sources made here; their names begin with it.
const Kind = "pg"

// ErrUsage says that options make no sense.
var ErrUsage = errors.New("wrong usage")

// CountTime is how long rows are counted if Options does not say.
const CountTime = 10 * time.Minute

// LockWait is how long commands wait for a table that somebody else has locked.
const LockWait = 30 * time.Minute

// Options says which databases are dumped, how they are reached, and what
// becomes of them.
type Options struct {
	All bool // every database of the server that can be connected to, but templates

	// What a connection string does not say; "" leaves it to libpq.
	Host, Port, User, Service string

	BinDir string // where PostgreSQL's programs are; "" looks for them
	// Name is used in the place of HOST/DB in the source's name, or, with several
	// databases, of HOST.
	Name      string
	NoGlobals bool          // leave out roles and tablespaces
	NoCounts  bool          // do not count rows
	CountTime time.Duration // what is not counted in this time is estimated; 0 is CountTime
	LockWait  time.Duration // how long a table may stay locked by others before the dump fails; 0 is for ever

	Verify   bool     // read back what was written before the commit
	Adopt    bool     // see repo.SessionOptions
	Tags     []string // a person's words for each snapshot
	Program  string   // and version, for the snapshot
	Progress *ingest.Progress
}

// Made is a snapshot and what was left out of it.
type Made struct {
	Snapshot *repo.Snapshot
	Warnings []string
}

// complete fills in what may be left out and refuses what makes no sense.
func (o *Options) complete() error {
	if o.Progress == nil {
		o.Progress = new(ingest.Progress)
	}
	if o.CountTime == 0 {
		o.CountTime = CountTime
	}
	if o.Name != "" {
		if why := unfit(o.Name); why != "" {
			return fmt.Errorf("%w: name %q %s", ErrUsage, o.Name, why)
		}
	}
	if o.LockWait < 0 {
		return fmt.Errorf("%w: a time of %s to wait for a lock is negative", ErrUsage, o.LockWait)
	}
	if o.Port != "" {
		if n, err := strconv.Atoi(o.Port); err != nil || n < 1 || n > 65535 {
			return fmt.Errorf("%w: port %q is no number from 1 to 65535", ErrUsage, o.Port)
		}
	}
	return nil
}

// conn fills in a connection. What the connection string says stands, as with
// PostgreSQL's own programs.
func (o *Options) conn(c pg.Conn) pg.Conn {
	return c.Or("host", o.Host).Or("port", o.Port).Or("user", o.User).Or("service", o.Service)
}
