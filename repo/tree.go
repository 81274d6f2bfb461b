package repo

import (
	"context"
	"errors"
	"iter"

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

var errUnbuilt = errors.New("not built yet")

// A Tree is a stored tree of files, for reading. It may be used by several
// goroutines. The entries it gives are shared: nobody may change them.
type Tree struct {
	repo *Repo
	root *Entry
}

// OpenTree opens an item that is a tree.
func (r *Repo) OpenTree(ctx context.Context, it Item) (*Tree, error) { return nil, errUnbuilt }

// Root is the entry of the tree itself; it has no name.
func (t *Tree) Root() *Entry { return t.root }

// Lookup finds a name in a directory. One that is not there is ErrNotFound.
func (t *Tree) Lookup(ctx context.Context, dir *Entry, name string) (*Entry, error) {
	return nil, errUnbuilt
}

// Entries gives the entries of a directory in the order of their names' bytes,
// those that come after a name, or all if that is "". An error is the last
// that is given. A node of the directory is read when its turn comes.
func (t *Tree) Entries(ctx context.Context, dir *Entry, after string) iter.Seq2[*Entry, error] {
	return func(yield func(*Entry, error) bool) { yield(nil, errUnbuilt) }
}

// Find follows a path of names, separated by '/', from the root; "", "." and a
// leading or trailing '/' mean what they mean to a shell. It follows no
// symbolic link. What is not there is ErrNotFound.
func (t *Tree) Find(ctx context.Context, path string) (*Entry, error) { return nil, errUnbuilt }

// Open opens a regular file.
func (t *Tree) Open(ctx context.Context, e *Entry) (*File, error) { return nil, errUnbuilt }

// Xattr returns the value of an extended attribute.
func (t *Tree) Xattr(ctx context.Context, x *Xattr) ([]byte, error) { return nil, errUnbuilt }
