// Package repo is a repository: one encrypted, deduplicating store of
// snapshots.
//
// Words: a chunk is a run of plaintext named by the keyed hash of its bytes; a
// pack is a file of sealed chunks; the index says in which pack a chunk lies;
// a snapshot is one committed backup of a source; a session is a snapshot that
// is not committed yet.
//
// Writing: NewSession → Lane.Put (deduplicate, compress, seal, collect into
// packs) → packs are published → an index run lists them → the head names the
// run → Commit turns the session's lease into the snapshot's manifest. Until
// that last step the snapshot does not exist; after it, all it names is durable.
//
// An increment begins with SessionOptions.Base: OpenBase → DiskWriter.Inherit
// takes segments over from an earlier snapshot, with their maps neither read
// nor written.
//
// Reading: Resolve → OpenDisk or OpenFile → segment map or stream node → chunk
// → pack. Every chunk is authenticated and its ID computed again before a byte
// of it leaves the package.
//
// FORMAT.md gives every stored byte.
package repo
