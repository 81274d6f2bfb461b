package repo

import (
	"context"

	"vaultfs/chunk"
	"vaultfs/repo/format"
)

// Name is the ID that Put gives a chunk of a disk. It costs most of what a Put of
// a chunk costs that is stored already. It may be called by several goroutines at
// once.
func (r *Repo) Name(plain []byte) chunk.ID { return r.name(format.Data, plain) }

// PutNamed is Put for a chunk of which Name has given the ID.
func (l *Lane) PutNamed(ctx context.Context, id chunk.ID, plain []byte) error {
	return l.putNamed(ctx, format.Data, id, plain, &l.data)
}

// Keep counts n bytes as one more chunk that was given and is stored: one that a
// disk of the session's base has, so that it is not looked for.
func (s *Session) Keep(n int64) {
	s.chunksTotal.Add(1)
	s.bytesTotal.Add(n)
}
