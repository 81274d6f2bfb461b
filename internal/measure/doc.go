// Package measure finds out what backups of a disk would cost and gain: how
// fast this machine does each step of an ingest, what deduplication and
// compression make of the disk, and how a repository of it would grow. It needs
// no repository and makes none; what it writes is a temporary file that nobody
// sees.
//
// Keys are drawn for the occasion, so that two runs cut a little differently, as
// two repositories do.
//
// Memory is bounded whatever a disk's size: beyond a number of distinct chunks a
// sample of them stands for all; see sketch.go.
package measure
