package postgres

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"vaultfs/internal/pg"
)

// hints say what to do about what PostgreSQL's programs say.
var hints = []struct{ said, do string }{
	{"no password supplied", "put the password into ~/.pgpass (chmod 600) or PGPASSWORD"},
	{"password authentication failed", "check the user, and the password in ~/.pgpass, PGPASSWORD or the service file"},
	{"authentication failed", "check --username and the server's pg_hba.conf"},
	{"no pg_hba.conf entry", "the server's pg_hba.conf does not let this user in from here"},
	{"the database system is starting up", "wait until it has started, and run it again"},
	{"terminating connection", "the server ended the connection while the dump was made: nothing was committed; look into its log, and run it again"},
	{"server closed the connection", "the server ended the connection while the dump was made: nothing was committed; look into its log, and run it again"},
	{"connection to server was lost", "the server ended the connection while the dump was made: nothing was committed; look into its log, and run it again"},
	{"could not receive data from server", "the connection broke: nothing was committed; run it again"},
	{"due to statement timeout; detail: Query was: LOCK TABLE", "somebody else keeps a table locked, as ALTER TABLE, VACUUM FULL or a forgotten transaction does: pg_stat_activity tells who; run it again, or wait longer with --lock-wait"},
	{"permission denied for large object", "a dump needs to read everything, and pg_read_all_data does not reach large objects: use a superuser, or GRANT SELECT ON LARGE OBJECT"},
	{"permission denied", "a dump needs to read everything: use a superuser, or a role that is a member of pg_read_all_data"},
	{"row-level security", "a dump needs to read every row: use a superuser, or a role with BYPASSRLS"},
	{"role \"", "check --username"},
	{"does not exist", "`psql -l` lists the databases; --all takes every one"},
	{"Connection refused", "is the server running? check --host and --port"},
	{"No such file or directory", "is the server running? check --host and --port"},
	{"could not translate host name", "check --host"},
	{"timeout expired", "is the server running? check --host and --port"},
	{"definition of service", "check --service and the file ~/.pg_service.conf"},
}

// explain says what could not be done, why, and what to do next.
func explain(what string, err error) error {
	if errors.Is(err, context.Canceled) {
		return err
	}
	var failed *pg.ProgramError
	var refused *pg.SQLError
	if !errors.As(err, &failed) && !errors.As(err, &refused) {
		return fmt.Errorf("%s: %w", what, err)
	}
	for _, h := range hints {
		if strings.Contains(err.Error(), h.said) {
			return fmt.Errorf("%s: %w: %s", what, err, h.do)
		}
	}
	return fmt.Errorf("%s: %w", what, err)
}
