package repo

import (
	"context"

	"vaultfs/chunk"
)

// SmallCache makes the cache of decoded chunks hold so many bytes.
func SmallCache(r *Repo, bytes int64) { r.chunks.limit = bytes }

// Spoil overwrites all memory that waits for its next use: what still looks at it
// sees other bytes, and is seen by the race detector.
func Spoil(r *Repo, with byte) {
	fill := func(b []byte) {
		for i := range b {
			b[i] = with
		}
	}
	sealed := takeSealed(1)
	fill((*sealed)[:cap(*sealed)])
	giveSealed(sealed)
	r.chunks.mu.Lock()
	defer r.chunks.mu.Unlock()
	for _, spare := range r.chunks.spare.bySize {
		for _, b := range spare {
			fill(b[:cap(b)])
		}
	}
}

// Users counts who uses chunks of the cache, or waits for them.
func Users(r *Repo) (n int) {
	r.chunks.mu.Lock()
	defer r.chunks.mu.Unlock()
	for _, c := range r.chunks.chunks {
		n += c.users
	}
	return n
}

// MiddleOf is the object that a chunk lies in, and where in it its middle is.
func MiddleOf(r *Repo, id chunk.ID) (object string, at int) {
	l := r.index.Lookup(id)[0]
	return packObject(l.Session, l.Pack.Hash), int(l.Chunk.Offset + l.Chunk.Sealed/2)
}

// FillAhead has as much read ahead as may be, until it is undone.
func FillAhead(r *Repo) (undo func()) {
	r.ahead.Add(aheadBytes)
	return func() { r.ahead.Add(-aheadBytes) }
}

// Held is how many chunks are in the cache or on their way.
func Held(r *Repo) int {
	r.chunks.mu.Lock()
	defer r.chunks.mu.Unlock()
	return len(r.chunks.chunks)
}

// OpenContent opens the content of a file, whatever it is.
func OpenContent(ctx context.Context, r *Repo, c Content) (*File, error) {
	return r.openContent(ctx, c)
}
