// Package pgarchive reads the custom format of pg_dump strictly, as a stream:
// whether an archive is whole, what its table of contents names, and where its
// data lies.
//
// `pg_restore --list` reads the table of contents alone, which comes first, so
// an archive that was cut off behind it passes. An archive has no end mark
// either: one that was cut off exactly between two blocks is known only by what
// its contents name and no block brings.
//
// The format is that of PostgreSQL's src/bin/pg_dump, pg_backup_archiver.c
// (WriteHead, WriteToc) and pg_backup_custom.c (the blocks):
//
//	archive = head contents block*
//	head    = "PGDMP" major minor revision intSize offSize format compression
//	          second minute hour day month year dst : int
//	          database serverVersion dumpVersion : string
//	contents = count : int, entry*
//	block   = 1 dumpID : int, pieces            (a table's rows, compressed or not)
//	        | 3 dumpID : int, (oid : int, pieces)*, 0 : int   (large objects)
//	pieces  = (length : int, bytes)*, 0 : int
//	int     = sign, intSize bytes, the lowest first
//	string  = length : int (-1 for none), bytes
//
// An entry holds the fields that contents.go lists, and ends with where its data
// begins: a state and offSize bytes. pg_dump fills that in when it writes to a
// file; a pipe cannot be written to twice.
package pgarchive
