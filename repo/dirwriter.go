package repo

import (
	"context"
	"fmt"
	"sync"

	"vaultfs/chunk"
	"vaultfs/repo/format"
)

// A DirWriter stores one directory. Memory holds no more of it than a node a
// level. It is not for concurrent use; a session may have many at once.
type DirWriter struct {
	session *Session
	levels  []*format.DirBuilder // open nodes, from level 0
	below   Totals
}

// NewDir returns a writer of a directory.
func (s *Session) NewDir() *DirWriter { return &DirWriter{session: s} }

// Add adds an entry. Names come in rising order of their bytes, none twice; a
// directory has been finished before. An error that is not of the session, such
// as one of a name that none can be, leaves the writer as it was.
func (w *DirWriter) Add(ctx context.Context, e *Entry) error {
	if len(w.levels) == 0 {
		w.levels = append(w.levels, dirBuilders.Get().(*format.DirBuilder))
	}
	if err := w.levels[0].Add(e); err != nil {
		return err
	}
	w.below.Add(e)
	return w.endNode(ctx, 0, e.Name)
}

// endNode ends the open node of a level if it is long enough and the last name
// in it says so. It depends on the names alone that stand together, so that a
// name that is added moves no cut but the next.
func (w *DirWriter) endNode(ctx context.Context, level int, last string) error {
	size := w.levels[level].Size()
	if size < format.DirMin || size < format.DirMax && !w.session.repo.endsNode(last) {
		return nil
	}
	return w.close(ctx, level)
}

// endsNode tells whether a directory's node may end after an entry of that
// name: one in 256 names does.
func (r *Repo) endsNode(name string) bool { return r.structureNames.Name([]byte(name))[0] == 0 }

// close stores the open node of a level and adds it to the level above.
func (w *DirWriter) close(ctx context.Context, level int) error {
	b := w.levels[level]
	id, err := w.session.putDirectory(ctx, b)
	if err != nil {
		return err
	}
	child := b.Child(id)
	b.Reset()
	if level+1 == len(w.levels) {
		w.levels = append(w.levels, format.NewDirBuilder(level+1))
	}
	if err := w.levels[level+1].AddChild(child); err != nil {
		return err
	}
	return w.endNode(ctx, level+1, child.First)
}

// Finish stores the rest and fills in Content.Kind, Content.ID and Below of the
// directory's own entry.
func (w *DirWriter) Finish(ctx context.Context, dir *Entry) error {
	if !dir.IsDir() {
		return fmt.Errorf("%q: mode %o is not that of a directory", dir.Name, dir.Mode)
	}
	id, err := w.finish(ctx)
	if err != nil {
		return err
	}
	dir.Content.Kind, dir.Content.ID, dir.Below = format.DirContent, id, w.below
	*w = DirWriter{}
	return nil
}

// finish stores the open nodes. The highest is the root, or the one node below
// it.
func (w *DirWriter) finish(ctx context.Context) (chunk.ID, error) {
	if len(w.levels) == 0 {
		return w.session.putDirectory(ctx, format.NewDirBuilder(0))
	}
	defer w.release()
	for level := 0; ; level++ {
		b := w.levels[level]
		if level == len(w.levels)-1 {
			if level > 0 && b.Len() == 1 {
				return b.Only(), nil
			}
			return w.session.putDirectory(ctx, b)
		}
		if b.Len() == 0 {
			continue
		}
		if err := w.close(ctx, level); err != nil {
			return chunk.ID{}, err
		}
	}
}

// dirBuilders are builders of level 0 for the next directories.
var dirBuilders = sync.Pool{New: func() any { return format.NewDirBuilder(0) }}

func (w *DirWriter) release() {
	w.levels[0].Reset()
	dirBuilders.Put(w.levels[0])
}

// putDirectory stores a node in the packer of such nodes.
func (s *Session) putDirectory(ctx context.Context, b *format.DirBuilder) (chunk.ID, error) {
	if err := ctx.Err(); err != nil {
		return chunk.ID{}, err
	}
	lane := dirLanes.Get().(*dirLane)
	defer dirLanes.Put(lane)
	lane.session = s
	lane.plain = b.Encode(lane.plain[:0])
	id, err := lane.put(ctx, format.Directory, lane.plain, &s.directories)
	lane.session = nil
	return id, err
}

// A dirLane is the memory for putting a node.
type dirLane struct {
	Lane
	plain []byte
}

var dirLanes = sync.Pool{New: func() any { return new(dirLane) }}

// PutTree stores the root of a finished directory, an entry without a name. It
// returns an item without a name, for AddItem. Its size is that of the files
// below.
func (s *Session) PutTree(ctx context.Context, root *Entry) (Item, error) {
	b, err := format.EncodeTreeRoot(root)
	if err != nil {
		return Item{}, err
	}
	lane := Lane{session: s}
	id, err := lane.put(ctx, format.Directory, b, &s.directories)
	if err != nil {
		return Item{}, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.trees == nil {
		s.trees = map[chunk.ID]Totals{}
	}
	s.trees[id] = root.Below
	return Item{Kind: ItemTree, Size: int64(root.Below.Bytes), Root: id}, nil
}

// AddTree makes a finished directory, an entry without a name, an item of the
// snapshot. Its size is that of the files below.
func (s *Session) AddTree(ctx context.Context, name string, root *Entry) (Item, error) {
	it, err := s.PutTree(ctx, root)
	if err != nil {
		return it, fmt.Errorf("tree %s: %w", name, err)
	}
	it.Name = name
	return it, s.AddItem(it)
}
