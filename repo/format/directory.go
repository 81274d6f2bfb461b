package format

import (
	"encoding/binary"
	"fmt"

	"vaultfs/chunk"
)

// Sizes of a directory node, in bytes as DirBuilder.Size counts them: below
// DirMin none ends but the last of its level, with DirMax every one does.
const (
	DirMin = 16 << 10
	DirMax = 256 << 10
)

const (
	maxDirLevel = 7  // with 54 children and more a node, more than any directory needs
	minDirEntry = 15 // bytes of the shortest entry, a fifo's
	minDirChild = 4  // bytes of the shortest child of an inner node
)

// A DirNode is a node of the tree that holds one directory. The nodes of level
// 0 hold the entries, in the order of their names' bytes; those of a higher
// level the nodes of the level below. The root of an empty directory is a node
// of level 0 without entries.
type DirNode struct {
	Level    int
	Entries  []TreeEntry // of level 0
	Children []DirChild  // of a higher level
}

// A DirChild is a node below another.
type DirChild struct {
	First string // name of the first entry below it
	Count uint64 // of the entries below it
	ID    chunk.ID
}

// Count is the number of entries below the node.
func (n *DirNode) Count() uint64 {
	if n.Level == 0 {
		return uint64(len(n.Entries))
	}
	count := uint64(0)
	for _, c := range n.Children {
		count += c.Count
	}
	return count
}

// First is the name of the first entry below the node, "" if there is none.
func (n *DirNode) First() string {
	switch {
	case len(n.Entries) > 0:
		return n.Entries[0].Name
	case len(n.Children) > 0:
		return n.Children[0].First
	}
	return ""
}

// Encode makes the chunk of kind Directory. The node is one that DirBuilder
// takes.
func (n *DirNode) Encode() ([]byte, error) {
	b := NewDirBuilder(n.Level)
	for i := range n.Entries {
		if err := b.Add(&n.Entries[i]); err != nil {
			return nil, err
		}
	}
	for _, c := range n.Children {
		if err := b.AddChild(c); err != nil {
			return nil, err
		}
	}
	return b.Encode(nil), nil
}

// EncodeTreeRoot makes the chunk of kind Directory that is the root of a tree:
// a node of level 0 whose one entry has no name.
func EncodeTreeRoot(root *TreeEntry) ([]byte, error) {
	b := NewDirBuilder(0)
	if root.Name != "" || !root.IsDir() {
		return nil, fmt.Errorf("the root of a tree is a directory without a name, not %q", root.Name)
	}
	if err := b.add(root); err != nil {
		return nil, err
	}
	return b.Encode(nil), nil
}

// A DirBuilder makes a directory node, entry by entry.
type DirBuilder struct {
	level            int
	first, last      string
	entries, count   uint64 // of the node itself; of all below it
	size             int
	structured, data list
	body             []byte
}

// NewDirBuilder starts a node of a level.
func NewDirBuilder(level int) *DirBuilder { return &DirBuilder{level: level} }

// Reset starts another node of the same level, in the same memory.
func (b *DirBuilder) Reset() {
	b.structured.reset()
	b.data.reset()
	*b = DirBuilder{level: b.level, structured: b.structured, data: b.data, body: b.body[:0]}
}

// Len is the number of entries, or of children, so far.
func (b *DirBuilder) Len() int { return int(b.entries) }

// Size is the length of all that was added, with 32 bytes for each chunk that
// it names.
func (b *DirBuilder) Size() int { return b.size }

// Child is what the node above says of this one, which is stored under an ID.
func (b *DirBuilder) Child(id chunk.ID) DirChild { return DirChild{b.first, b.count, id} }

// Only is the ID of the one child that was added to a node of a higher level.
func (b *DirBuilder) Only() chunk.ID { return b.structured.ids[0] }

// Add adds an entry to a node of level 0. It does not keep e.
func (b *DirBuilder) Add(e *TreeEntry) error {
	if err := b.rising(e.Name); err != nil {
		return err
	}
	return b.add(e)
}

func (b *DirBuilder) add(e *TreeEntry) error {
	if err := e.Validate(); err != nil {
		return fmt.Errorf("%q: %w", e.Name, err)
	}
	start := len(b.body)
	named := b.appendEntry(e)
	b.added(e.Name, 1, len(b.body)-start+32*named)
	return nil
}

// AddChild adds a child to a node of a higher level.
func (b *DirBuilder) AddChild(c DirChild) error {
	if err := b.rising(c.First); err != nil {
		return err
	}
	start := len(b.body)
	b.body = appendText(b.body, c.First)
	b.body = binary.AppendUvarint(b.body, c.Count)
	b.body = binary.AppendUvarint(b.body, b.structured.add(c.ID))
	b.added(c.First, c.Count, len(b.body)-start+32)
	return nil
}

// rising checks a name, and that it comes after the last.
func (b *DirBuilder) rising(name string) error {
	if err := validName(name); err != nil {
		return err
	}
	if b.entries > 0 && name <= b.last {
		return fmt.Errorf("the name %q does not come after %q", name, b.last)
	}
	return nil
}

func (b *DirBuilder) added(name string, count uint64, size int) {
	if b.entries == 0 {
		b.first = name
	}
	b.last = name
	b.entries++
	b.count += count
	b.size += size
}

// Encode appends the chunk of kind Directory to dst.
func (b *DirBuilder) Encode(dst []byte) []byte {
	dst = appendChildren(dst, Directory, Children{Structured: b.structured.ids, Data: b.data.ids})
	dst = binary.AppendUvarint(dst, uint64(b.level))
	dst = binary.AppendUvarint(dst, b.entries)
	return append(dst, b.body...)
}

// DecodeDirNode reads a directory node that is not the root of a tree. The node
// shares memory with b.
func DecodeDirNode(b []byte) (*DirNode, error) {
	r, level, n, err := openDir(b)
	if err != nil {
		return nil, err
	}
	node := &DirNode{Level: level}
	if level > 0 {
		node.Children, err = r.children(n)
	} else {
		node.Entries, err = r.entries(n)
	}
	if err != nil {
		return nil, err
	}
	return node, r.finish()
}

// DecodeTreeRoot reads the root of a tree. The entry shares memory with b.
func DecodeTreeRoot(b []byte) (*TreeEntry, error) {
	r, level, n, err := openDir(b)
	if err != nil {
		return nil, err
	}
	if level != 0 || n != 1 {
		return nil, damaged("a directory node of level %d with %d entries where the root of a tree belongs", level, n)
	}
	root := new(TreeEntry)
	if err := r.entry(root); err != nil {
		return nil, err
	}
	if root.Name != "" || !root.IsDir() {
		return nil, damaged("the root of a tree has the name %q and mode %o", root.Name, root.Mode)
	}
	return root, r.finish()
}

// openDir reads what every directory node begins with.
func openDir(b []byte) (r *dirReader, level, n int, err error) {
	c, rest, err := children(b, Directory)
	if err != nil {
		return nil, 0, 0, err
	}
	r = &dirReader{reader: reader{b: rest}, text: string(rest), ids: c}
	l, count := r.uint(), r.uint()
	shortest := minDirEntry
	if l > 0 {
		shortest = minDirChild
	}
	if l > maxDirLevel || count > uint64(len(rest)/shortest) || (count == 0 && l > 0) {
		return nil, 0, 0, damaged("directory node of level %d with %d entries in %d bytes", l, count, len(rest))
	}
	return r, int(l), int(count), nil
}
