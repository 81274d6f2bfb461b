// Package pg talks to PostgreSQL the way its own programs do: through them.
//
// Everything goes through psql, pg_dump, pg_dumpall and pg_restore, and so
// through libpq, which alone decides whom to connect to and how to log in: the
// PG… environment, service files, .pgpass, certificates, Kerberos and whatever
// comes next mean here what they mean there. A PostgreSQL driver in Go would be
// a second opinion on all of that, beside the pg_dump that has to be there in any
// case.
//
// No program is ever asked to prompt for a password, and no password is put on a
// command line, where other users could read it.
package pg
