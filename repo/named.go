package repo

import (
	"context"

	"vaultfs/chunk"
	"vaultfs/repo/format"
)

// PutNamed is Put for a chunk of which Identify has given the ID.
func (l *Lane) PutNamed(ctx context.Context, id chunk.ID, plain []byte) error {
	return l.putNamed(ctx, format.Data, id, plain, &l.data)
}

// Keep counts n bytes as one more chunk that was given and is stored: one that a
// disk of the session's base has, so that it is not looked for.
func (s *Session) Keep(n int64) {
	s.chunksTotal.Add(1)
	s.bytesTotal.Add(n)
}
