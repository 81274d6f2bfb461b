package repo

import (
	"context"
	"errors"
	"io"

	"vaultfs/chunk"
	"vaultfs/repo/format"
)

// PutStream stores all of a stream and returns the ID of its root and its
// length in bytes.
func (s *Session) PutStream(ctx context.Context, r io.Reader) (root chunk.ID, size int64, err error) {
	w := s.NewFileWriter()
	tree := w.streamTree(ctx)
	err = w.chunks(ctx, r, func(e format.StreamEntry) error {
		size += e.Len
		return tree.add(0, e)
	})
	if err != nil {
		return root, size, err
	}
	root, err = tree.finish()
	return root, size, err
}

// A StreamPart is bytes that were stored to become part of a stream. It keeps
// 40 bytes in memory for each chunk, so for about 384 KiB.
type StreamPart struct {
	session *Session
	entries []format.StreamEntry
	size    int64
}

// Size is the length in bytes.
func (p *StreamPart) Size() int64 { return p.size }

// PutPart stores a part of a stream.
func (s *Session) PutPart(ctx context.Context, r io.Reader) (*StreamPart, error) {
	p := &StreamPart{session: s}
	err := s.NewFileWriter().chunks(ctx, r, func(e format.StreamEntry) error {
		p.entries, p.size = append(p.entries, e), p.size+e.Len
		return nil
	})
	return p, err
}

// JoinParts makes one stream of parts that this session has stored, in that
// order, and returns what PutStream returns. It reads none of their bytes.
func (s *Session) JoinParts(ctx context.Context, parts ...*StreamPart) (root chunk.ID, size int64, err error) {
	tree := s.NewFileWriter().streamTree(ctx)
	for _, p := range parts {
		if p.session != s {
			return root, size, errors.New("a part of the stream was stored by another session")
		}
		for _, e := range p.entries {
			if err := tree.add(0, e); err != nil {
				return root, size, err
			}
		}
		size += p.size
	}
	root, err = tree.finish()
	return root, size, err
}

// AddFile stores a stream as an item of the snapshot.
func (s *Session) AddFile(ctx context.Context, name string, r io.Reader) (Item, error) {
	root, size, err := s.PutStream(ctx, r)
	if err != nil {
		return Item{}, err
	}
	it := Item{Name: name, Kind: ItemFile, Size: size, Root: root}
	return it, s.AddItem(it)
}

// A streamTree builds the nodes of a stream from its chunks, bottom up, with
// one open node a level.
type streamTree struct {
	levels [][]format.StreamEntry
	put    func(*format.StreamNode) (chunk.ID, error)
}

func (w *FileWriter) streamTree(ctx context.Context) *streamTree {
	return &streamTree{put: func(n *format.StreamNode) (chunk.ID, error) {
		return w.lane.putStructure(ctx, format.Stream, n.Encode())
	}}
}

func (t *streamTree) add(level int, e format.StreamEntry) error {
	if level == len(t.levels) {
		t.levels = append(t.levels, nil)
	}
	if len(t.levels[level]) == format.NodeEntries {
		if err := t.close(level); err != nil {
			return err
		}
	}
	t.levels[level] = append(t.levels[level], e)
	return nil
}

// close stores the open node of a level and adds it to the level above.
func (t *streamTree) close(level int) error {
	n := &format.StreamNode{Level: level, Entries: t.levels[level]}
	id, err := t.put(n)
	if err != nil {
		return err
	}
	t.levels[level] = nil
	return t.add(level+1, format.StreamEntry{Len: n.Size(), ID: id})
}

// single returns the chunk of a stream that is no more than that.
func (t *streamTree) single() (chunk.ID, bool) {
	if len(t.levels) != 1 || len(t.levels[0]) != 1 {
		return chunk.ID{}, false
	}
	return t.levels[0][0].ID, true
}

// finish stores what is open. The highest node is the root.
func (t *streamTree) finish() (chunk.ID, error) {
	if len(t.levels) == 0 {
		return t.put(&format.StreamNode{})
	}
	for level := 0; level < len(t.levels)-1; level++ {
		if err := t.close(level); err != nil {
			return chunk.ID{}, err
		}
	}
	top := len(t.levels) - 1
	return t.put(&format.StreamNode{Level: top, Entries: t.levels[top]})
}
