// Package postgres backs up PostgreSQL databases with pg_dump, and dumps that
// exist already.
package postgres
