// Package postgres backs up PostgreSQL databases with pg_dump, and dumps that
// exist already.
//
// # A snapshot
//
// A snapshot of pg/HOST/DB holds DB.dump, an archive of pg_dump's custom format
// that is not compressed inside, so that the dumps of successive days share their
// chunks; globals.sql with the roles and tablespaces of the server; and what is
// known of the database as report.json and report.md. A dump of SQL statements
// that was read from a file is DB.sql.
//
// # A dump is whole, or refused
//
// Nothing is spooled: pg_dump writes into the repository. A snapshot comes to be
// only if pg_dump says that it succeeded, and what came through the pipe was a
// whole archive (internal/pgarchive), and `pg_restore --list` reads what was
// stored. SQL statements must end with the line that pg_dump ends them with.
//
// # Rows are counted in the state that was dumped
//
// One psql opens a transaction and hands its snapshot to pg_dump; while that
// runs, the rows of all tables are counted in the same transaction. A restore
// compares.
package postgres
