// Package store keeps objects durably: put, ranged get, list, delete, and
// leases. It knows nothing of what the objects hold.
//
// An object is immutable and has a name such as packs/<session>/<hash>. Put
// publishes it wholly or not at all and never replaces; once Put has returned
// nil the object survives a power loss.
//
// # Layout of a directory store
//
//	<name>             one file an object, mode 0600; directories 0700
//	sessions/<name>    one file a lease, locked with flock(2) while its owner lives
//	tmp/<random>       files being written, where the file system has no O_TMPFILE, or is FUSE
//
// Symbolic links below the root are never followed.
//
// # Durability
//
// There is one publishing path (publish.go) for objects, whether they come at
// once (Put) or piece by piece (Writer), and leases: a file
// without a name (O_TMPFILE, or a locked one in tmp/) is written, fsynced,
// given its name in one exclusive step, and then its directory is fsynced,
// and every directory above it that is not known to be durable. A failed
// fsync fails the operation and is never retried: the kernel reports a lost
// write once, and then calls the page clean.
//
// # Leases
//
// A lease is seen in sessions/ only locked while its owner lives, and
// unlocked from the moment the owner is gone, however it went. Committing
// renames the lease file to its final name; breaking unlinks it. Both act on
// the same directory entry, so exactly one of them wins. Lease names must
// never recur.
//
// # Crashing
//
// Dir is written over a small file-system interface. Besides the operating
// system there is Mem, a disk in memory that fails at a chosen operation and
// shows what a power loss or a killed process may leave behind.
package store
