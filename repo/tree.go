package repo

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"sort"
	"strings"

	"vaultfs/chunk"
	"vaultfs/repo/format"
)

// What a tree is made of.
type (
	Entry     = format.TreeEntry
	Xattr     = format.Xattr
	Content   = format.Content
	Range     = format.Range
	Totals    = format.Totals
	Timestamp = format.Timestamp
)

// WholeTree is the name of the item of a snapshot that is a tree and nothing
// else: the mount shows the tree as the snapshot's directory.
const WholeTree = "."

// MaxRanges is how many runs of data a file may have.
const MaxRanges = format.MaxRanges

// A Tree is a stored tree of files, for reading. It may be used by several
// goroutines. The entries it gives are shared: nobody may change them.
type Tree struct {
	repo *Repo
	root *Entry
}

// OpenTree opens an item that is a tree.
func (r *Repo) OpenTree(ctx context.Context, it Item) (*Tree, error) {
	if it.Kind != ItemTree {
		return nil, fmt.Errorf("%s: a %s, not a tree", it.Name, it.Kind)
	}
	if err := r.refresh(ctx); err != nil {
		return nil, err
	}
	b, err := r.readChunk(ctx, format.Directory, it.Root)
	if err != nil {
		return nil, fmt.Errorf("tree %s: %w", it.Name, err)
	}
	root, err := decodeTreeRoot(b, it)
	if err != nil {
		return nil, damage("tree "+it.Name, err)
	}
	return &Tree{r, root}, nil
}

// decodeTreeRoot reads the root of a tree and checks it against the manifest.
func decodeTreeRoot(b []byte, it Item) (*Entry, error) {
	root, err := format.DecodeTreeRoot(b)
	if err != nil {
		return nil, err
	}
	if int64(root.Below.Bytes) != it.Size {
		return nil, fmt.Errorf("%w: %d bytes, %d in the manifest", ErrDamaged, root.Below.Bytes, it.Size)
	}
	return root, nil
}

// Root is the entry of the tree itself; it has no name.
func (t *Tree) Root() *Entry { return t.root }

// dirNode reads a node of a directory.
func (r *Repo) dirNode(ctx context.Context, id chunk.ID) (*format.DirNode, error) {
	v, err := r.maps.get(id, func() (any, int64, error) {
		b, err := r.fetch(context.WithoutCancel(ctx), format.Directory, id)
		if err != nil {
			return nil, 0, err
		}
		n, err := format.DecodeDirNode(b)
		if err != nil {
			return nil, 0, damage(dirLabel(id), err)
		}
		return n, dirWeight(n, len(b)), nil
	})
	if err != nil {
		return nil, err
	}
	n, ok := v.(*format.DirNode)
	if !ok {
		return nil, &DamageError{dirLabel(id), errors.New("it is something else")}
	}
	return n, nil
}

func dirLabel(id chunk.ID) string { return "directory node " + id.String()[:16] }

// dirWeight is about what a node of n bytes takes in memory.
func dirWeight(node *format.DirNode, n int) int64 {
	return int64(2*n + 272*len(node.Entries) + 56*len(node.Children) + 128)
}

// dirChild reads a node below another, of a level, and checks it against what
// that says of it.
func (r *Repo) dirChild(ctx context.Context, level int, c format.DirChild) (*format.DirNode, error) {
	n, err := r.dirNode(ctx, c.ID)
	if err != nil {
		return nil, err
	}
	if err := spanOf(n).check(level, c); err != nil {
		return nil, &DamageError{dirLabel(c.ID), err}
	}
	return n, nil
}

// A dirSpan is what of a directory's entries a node holds.
type dirSpan struct {
	Level int
	First string
	Count uint64
}

func spanOf(n *format.DirNode) dirSpan { return dirSpan{n.Level, n.First(), n.Count()} }

// check compares the span of a node with what the node above, of a level, says
// of it.
func (s dirSpan) check(level int, c format.DirChild) error {
	if want := (dirSpan{level - 1, c.First, c.Count}); s != want {
		return fmt.Errorf("level %d with %d entries from %q, where level %d with %d entries from %q belongs",
			s.Level, s.Count, s.First, want.Level, want.Count, want.First)
	}
	return nil
}

var errNotDir = errors.New("not a directory")

// Lookup finds a name in a directory. One that is not there is ErrNotFound.
func (t *Tree) Lookup(ctx context.Context, dir *Entry, name string) (*Entry, error) {
	if !dir.IsDir() {
		return nil, fmt.Errorf("%s: %w: %w", dir.Name, ErrNotFound, errNotDir)
	}
	n, err := t.repo.dirNode(ctx, dir.Content.ID)
	for err == nil && n.Level > 0 {
		i := sort.Search(len(n.Children), func(i int) bool { return n.Children[i].First > name })
		if i == 0 {
			return nil, fmt.Errorf("%s: %w", name, ErrNotFound)
		}
		n, err = t.repo.dirChild(ctx, n.Level, n.Children[i-1])
	}
	if err != nil {
		return nil, err
	}
	i := sort.Search(len(n.Entries), func(i int) bool { return n.Entries[i].Name >= name })
	if i == len(n.Entries) || n.Entries[i].Name != name {
		return nil, fmt.Errorf("%s: %w", name, ErrNotFound)
	}
	return &n.Entries[i], nil
}

// Entries gives the entries of a directory in the order of their names' bytes,
// those that come after a name, or all if that is "". An error is the last
// that is given. A node of the directory is read when its turn comes.
func (t *Tree) Entries(ctx context.Context, dir *Entry, after string) iter.Seq2[*Entry, error] {
	return func(yield func(*Entry, error) bool) {
		if !dir.IsDir() {
			yield(nil, fmt.Errorf("%s: %w", dir.Name, errNotDir))
			return
		}
		n, err := t.repo.dirNode(ctx, dir.Content.ID)
		if err == nil {
			_, err = t.entries(ctx, n, after, yield)
		}
		if err != nil {
			yield(nil, err)
		}
	}
}

// entries gives those of a node, as long as more are wanted.
func (t *Tree) entries(ctx context.Context, n *format.DirNode, after string, yield func(*Entry, error) bool) (more bool, err error) {
	if n.Level == 0 {
		i := sort.Search(len(n.Entries), func(i int) bool { return n.Entries[i].Name > after })
		for ; i < len(n.Entries); i++ {
			if !yield(&n.Entries[i], nil) {
				return false, nil
			}
		}
		return true, nil
	}
	i := sort.Search(len(n.Children), func(i int) bool { return n.Children[i].First > after })
	for i = max(0, i-1); i < len(n.Children); i++ {
		if err := ctx.Err(); err != nil {
			return false, err
		}
		child, err := t.repo.dirChild(ctx, n.Level, n.Children[i])
		if err != nil {
			return false, err
		}
		if more, err = t.entries(ctx, child, after, yield); err != nil || !more {
			return false, err
		}
	}
	return true, nil
}

// Find follows a path of names, separated by '/', from the root; "", "." and a
// leading or trailing '/' mean what they mean to a shell. It follows no
// symbolic link. What is not there, ".." included, is ErrNotFound.
func (t *Tree) Find(ctx context.Context, path string) (*Entry, error) {
	e := t.root
	for name := range strings.SplitSeq(path, "/") {
		if !e.IsDir() {
			return nil, fmt.Errorf("%s: %w: %s is no directory", path, ErrNotFound, e.Name)
		}
		if name == "" || name == "." {
			continue
		}
		var err error
		if e, err = t.Lookup(ctx, e, name); errors.Is(err, ErrNotFound) {
			return nil, fmt.Errorf("%s: %w", path, ErrNotFound)
		} else if err != nil {
			return nil, err
		}
	}
	return e, nil
}

// Open opens a regular file.
func (t *Tree) Open(ctx context.Context, e *Entry) (*File, error) {
	if !e.IsRegular() {
		return nil, fmt.Errorf("%s: not a regular file", e.Name)
	}
	f, err := t.repo.openContent(ctx, e.Content)
	if err != nil {
		return nil, fmt.Errorf("file %s: %w", e.Name, err)
	}
	return f, nil
}

// Xattr returns the value of an extended attribute. Nobody may change it.
func (t *Tree) Xattr(ctx context.Context, x *Xattr) ([]byte, error) {
	if x.Chunk.IsZero() {
		return x.Value, nil
	}
	b, err := t.repo.readChunk(ctx, format.Data, x.Chunk)
	if err != nil {
		return nil, fmt.Errorf("extended attribute %s: %w", x.Name, err)
	}
	if len(b) != int(x.Size) {
		return nil, &DamageError{"chunk " + x.Chunk.String()[:16], fmt.Errorf("%d bytes, its entry says %d", len(b), x.Size)}
	}
	return b, nil
}
