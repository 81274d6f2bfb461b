package postgres

import (
	"errors"
	"fmt"
	"strings"

	"vaultfs/internal/pg"
)

// hostile is what to do about a script that tells psql more than SQL.
const hostile = "the dump holds a command to psql beside its statements, which pg_dump does not write and which could run a shell: look at it, and give it to psql yourself if you trust it"

// hints say what to do about what the server or a program says.
var hints = []struct{ said, do string }{
	{"backslash commands are restricted", hostile},
	{"unrestrict: wrong key", hostile},
	{"invalid command \\restrict", "this psql cannot be kept from running commands that a dump holds: install postgresql-client of 13.22, 14.19, 15.14, 16.10, 17.6 or newer"},
	{"CREATE DATABASE cannot run", "the dump makes a database of its own, as with pg_dump --create: give it to psql yourself"},
	{"invalid locale name", "make that locale on the server (dpkg-reconfigure locales) and restart PostgreSQL, then run it again"},
	{"is not available", "install the extension's package on the server, then run it again"},
	{"permission denied to create", "restore as a superuser, or as a role with CREATEDB (and CREATEROLE for --create-roles)"},
	{"permission denied", "restore as a superuser"},
	{"must be owner", "restore as a superuser, or give --no-owner"},
	{"must be member of role", "restore as a superuser, or give --no-owner"},
	{"authentication failed", "check the user, and the password in ~/.pgpass, PGPASSWORD or the service file"},
	{"no password supplied", "put the password into ~/.pgpass (chmod 600) or PGPASSWORD"},
	{"unsupported version", "install a newer postgresql-client, or say with --pg-bindir where one is"},
	{"tablespace \"", "create that tablespace on the server first"},
	{"Connection refused", "is the server running? check --host and --port"},
	{"No such file or directory", "is the server running? check --host and --port"},
	{"could not translate host name", "check --host"},
	{"No space left on device", "the server's disk is full"},
	{"server closed the connection", "the server ended the connection: look into its log, and run it again"},
}

// explain says what could not be done, why, and what to do next; nil stays nil.
func explain(what string, err error) error {
	if err == nil {
		return nil
	}
	var failed *pg.ProgramError
	var refused *pg.SQLError
	if !errors.As(err, &failed) && !errors.As(err, &refused) {
		return fmt.Errorf("%s: %w", what, err)
	}
	said := err.Error()
	for _, h := range hints {
		if strings.Contains(said, h.said) {
			return fmt.Errorf("%s: %w: %s", what, err, h.do)
		}
	}
	if strings.Contains(said, `role "`) && strings.Contains(said, "does not exist") {
		return fmt.Errorf("%s: %w: create the role (--create-roles takes it from %s), or give --no-owner", what, err, pg.GlobalsName)
	}
	return fmt.Errorf("%s: %w", what, err)
}
