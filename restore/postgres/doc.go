// Package postgres makes a database from a stored dump.
package postgres
