package repo

import (
	"context"
	"fmt"

	"vaultfs/chunk"
	"vaultfs/repo/format"
)

// tree finds what is lost of a tree.
func (f *lostFinder) tree(ctx context.Context, it Item) (bool, error) {
	l := lostChunk{kind: format.Directory, id: it.Root, path: "./", part: lostEntries, bytes: it.Size, detail: "all that is in it"}
	return f.structured(ctx, l, func(plain []byte) (bool, error) {
		root, err := decodeTreeRoot(plain, it)
		if err != nil {
			return false, err
		}
		return f.entry(ctx, root, "")
	})
}

// entry finds what is lost of a file, or of a directory and all below it.
func (f *lostFinder) entry(ctx context.Context, e *Entry, path string) (whole bool, err error) {
	whole = true
	switch {
	case e.IsDir():
		whole, err = f.directory(ctx, e, path)
	case e.IsRegular():
		whole, err = f.content(ctx, e, path)
	}
	for i := range e.Xattrs {
		x := &e.Xattrs[i]
		if err != nil || x.Chunk.IsZero() {
			continue
		}
		var ok bool
		ok, err = f.data(lostChunk{id: x.Chunk, path: shownPath(e, path), entry: e, part: lostXattr, xattr: i, bytes: int64(x.Size),
			detail: "the extended attribute " + x.Name}, int64(x.Size))
		whole = whole && ok
	}
	return whole, err
}

// shownPath is a path as a Loss tells it.
func shownPath(e *Entry, path string) string {
	switch {
	case !e.IsDir():
		return path
	case path == "":
		return "./"
	}
	return path + "/"
}

// content finds what is lost of the bytes of a file.
func (f *lostFinder) content(ctx context.Context, e *Entry, path string) (bool, error) {
	c := e.Content
	l := lostChunk{id: c.ID, path: path, entry: e, n: c.Size, bytes: c.Size}
	if !c.Ranges.IsZero() {
		ranges, stored, err := f.ranges(ctx, c)
		if err != nil {
			return false, err
		}
		if ranges == nil {
			return false, f.lost(&lostChunk{kind: format.Data, id: c.Ranges, path: path, entry: e, part: lostRanges, bytes: c.Size})
		}
		l.ranges, l.n, l.bytes = ranges, stored, stored
	}
	switch c.Kind {
	case format.ChunkContent:
		return f.data(l, l.n)
	case format.StreamContent:
		return f.stream(ctx, l, -1)
	}
	return true, nil
}

// ranges reads the runs of data of a file with holes; nil if they are lost.
func (f *lostFinder) ranges(ctx context.Context, c Content) (ranges []Range, stored int64, err error) {
	if !f.has(format.Data, c.Ranges, -1) {
		return nil, 0, nil
	}
	plain, err := f.repo.fetch(ctx, format.Data, c.Ranges)
	if err == nil {
		ranges, stored, err = format.DecodeRanges(plain, c.Size)
	}
	if isDamage(err) {
		return nil, 0, nil
	}
	if ranges == nil {
		ranges = []Range{}
	}
	return ranges, stored, err
}

// directory finds what is lost in a directory.
func (f *lostFinder) directory(ctx context.Context, dir *Entry, path string) (bool, error) {
	if f.deep++; f.deep > maxDepth {
		f.deep--
		return false, f.lost(&lostChunk{kind: format.Directory, id: dir.Content.ID, path: shownPath(dir, path), entry: dir, part: lostEntries,
			detail: fmt.Sprintf("it lies in more than %d directories, one in the other", maxDepth)})
	}
	defer func() { f.deep-- }()
	return f.dirNode(ctx, dir, path, dir.Content.ID, dirSpread{bytes: int64(dir.Below.Bytes)})
}

// A dirSpread is which entries of a directory a node holds: those from first on
// and before end, as far as the node above tells.
type dirSpread struct {
	first, end string
	bytes      int64
}

func (s dirSpread) String() string {
	switch {
	case s.first == "" && s.end == "":
		return "all that is in it"
	case s.end == "":
		return fmt.Sprintf("what is in it from %q on", s.first)
	case s.first == "":
		return fmt.Sprintf("what is in it before %q", s.end)
	}
	return fmt.Sprintf("what is in it from %q on and before %q", s.first, s.end)
}

func (f *lostFinder) dirNode(ctx context.Context, dir *Entry, path string, id chunk.ID, spread dirSpread) (bool, error) {
	l := lostChunk{kind: format.Directory, id: id, path: shownPath(dir, path), entry: dir, part: lostEntries, bytes: spread.bytes, detail: spread.String()}
	return f.structured(ctx, l, func(plain []byte) (bool, error) {
		n, err := format.DecodeDirNode(plain)
		if err != nil {
			return false, err
		}
		all := true
		for i := range n.Entries {
			e := &n.Entries[i]
			below := e.Name
			if path != "" {
				below = path + "/" + e.Name
			}
			whole, err := f.entry(ctx, e, below)
			if err != nil {
				return false, err
			}
			all = all && whole
		}
		for i, c := range n.Children {
			at := dirSpread{first: c.First, end: spread.end}
			if i == 0 {
				at.first = spread.first
			}
			if i+1 < len(n.Children) {
				at.end = n.Children[i+1].First
			}
			whole, err := f.dirNode(ctx, dir, path, c.ID, at)
			if err != nil {
				return false, err
			}
			all = all && whole
		}
		return all, nil
	})
}
