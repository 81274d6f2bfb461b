// Package postgres makes a database from a stored dump.
//
// A database that exists is never touched. The new one is made from template0
// with the encoding and locale of the old one, filled by pg_restore or psql, and
// compared, table by table, with the rows that were counted when it was dumped.
// If anything goes wrong before that, it is dropped again, and so are the roles
// that were made for it.
package postgres
