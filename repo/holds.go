package repo

import (
	"context"

	"vaultfs/chunk"
	"vaultfs/repo/format"
)

// Holds tells whether a content of an earlier snapshot, the one that
// Session.Previous gives, may be taken over as it is: all of its chunks are
// there and not in doubt. Each is looked up as if it were put again, so that it
// is right of any content; of a directory it looks at all that is below.
func (s *Session) Holds(ctx context.Context, c Content) bool {
	if !c.Ranges.IsZero() && !s.usable(ctx, format.Data, c.Ranges) {
		return false
	}
	switch c.Kind {
	case format.NoContent:
		return true
	case format.ChunkContent:
		return s.usable(ctx, format.Data, c.ID)
	case format.StreamContent:
		stored, err := s.repo.storedSize(ctx, c)
		return err == nil && s.holdsStream(ctx, c.ID, -1, stored)
	case format.DirContent:
		return s.holdsDir(ctx, c.ID)
	}
	return false
}

// HoldsXattr is Holds for an extended attribute.
func (s *Session) HoldsXattr(ctx context.Context, x *Xattr) bool {
	return x.Chunk.IsZero() || s.usable(ctx, format.Data, x.Chunk)
}

func (s *Session) holdsStream(ctx context.Context, id chunk.ID, level int, size int64) bool {
	if ctx.Err() != nil || !s.usable(ctx, format.Stream, id) {
		return false
	}
	n, err := s.repo.node(ctx, id, level, size)
	if err != nil {
		return false
	}
	for _, e := range n.Entries {
		if n.Level > 0 && !s.holdsStream(ctx, e.ID, n.Level-1, e.Len) {
			return false
		}
		if n.Level == 0 && !s.usable(ctx, format.Data, e.ID) {
			return false
		}
	}
	return true
}

func (s *Session) holdsDir(ctx context.Context, id chunk.ID) bool {
	if ctx.Err() != nil || !s.usable(ctx, format.Directory, id) {
		return false
	}
	n, err := s.repo.dirNode(ctx, id)
	if err != nil {
		return false
	}
	for _, c := range n.Children {
		if !s.holdsDir(ctx, c.ID) {
			return false
		}
	}
	for i := range n.Entries {
		e := &n.Entries[i]
		if !s.Holds(ctx, e.Content) {
			return false
		}
		for i := range e.Xattrs {
			if !s.HoldsXattr(ctx, &e.Xattrs[i]) {
				return false
			}
		}
	}
	return true
}
