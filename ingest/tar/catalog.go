package tar

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"hash/maphash"
	"slices"

	"golang.org/x/sys/unix"
	"vaultfs/repo"
)

// A catalog holds what has been read of the archive, a node a path, until the
// end shows which of several members of one path counts. A million of them take
// some 120 MiB: names and attributes lie packed in an arena, and nodes refer to
// each other by number.
type catalog struct {
	nodes []node
	heads []uint32 // chains of nodes, by the hash of parent and name; 0 ends one
	seed  maphash.Seed
	arena arena
}

// A node is a path. Number 0 is the root of the tree.
type node struct {
	parent uint32
	next   uint32 // of the chain
	name   place
	body   place // of the entry without its name; hard links share one
	flags  uint8
}

// What flags tell.
const (
	isDir    = 1 << iota
	isLink   // a symbolic link
	hasChild // or had one
	implied  // a directory that only its children tell of, so far
)

// nowhere is the parent of nodes that were replaced.
const nowhere = ^uint32(0)

func newCatalog(root *repo.Entry) *catalog {
	c := &catalog{seed: maphash.MakeSeed(), heads: make([]uint32, 1<<10)}
	c.nodes = append(c.nodes, node{parent: nowhere, flags: isDir | implied})
	c.nodes[0].body = c.arena.put(appendBody(nil, root))
	return c
}

// bucket is the place in heads of a name in a directory.
func (c *catalog) bucket(parent uint32, name string) uint64 {
	h := maphash.String(c.seed, name) ^ uint64(parent)*0x9e3779b97f4a7c15
	return (h ^ h>>29) & uint64(len(c.heads)-1)
}

// find looks a name up in a directory.
func (c *catalog) find(parent uint32, name string) (uint32, bool) {
	for i := c.heads[c.bucket(parent, name)]; i != 0; i = c.nodes[i].next {
		if n := &c.nodes[i]; n.parent == parent && string(c.name(i)) == name {
			return i, true
		}
	}
	return 0, false
}

// name is the name of a node.
func (c *catalog) name(i uint32) []byte {
	b := c.arena.at(c.nodes[i].name)
	n, k := binary.Uvarint(b)
	return b[k : k+int(n)]
}

// add makes a node; there is none of that name yet.
func (c *catalog) add(parent uint32, name string, body place, flags uint8) uint32 {
	if len(c.nodes) >= len(c.heads) {
		c.grow()
	}
	i := uint32(len(c.nodes))
	at := c.bucket(parent, name)
	b := append(binary.AppendUvarint(nil, uint64(len(name))), name...)
	c.nodes = append(c.nodes, node{parent, c.heads[at], c.arena.put(b), body, flags})
	c.heads[at] = i
	c.nodes[parent].flags |= hasChild
	return i
}

// grow doubles the table of chains.
func (c *catalog) grow() {
	c.heads = make([]uint32, 2*len(c.heads))
	for i := range c.nodes {
		n := &c.nodes[i]
		if n.parent == nowhere {
			continue
		}
		at := c.bucket(n.parent, string(c.name(uint32(i))))
		n.next, c.heads[at] = c.heads[at], uint32(i)
	}
}

// remove takes a node away with all that is below it, which is found no more.
func (c *catalog) remove(i uint32) {
	n := &c.nodes[i]
	at := &c.heads[c.bucket(n.parent, string(c.name(i)))]
	for *at != i {
		at = &c.nodes[*at].next
	}
	*at = n.next
	n.parent = nowhere
}

// set makes a path what a member says, over what it was before. It tells whether
// something was lost that tar would have kept or refused to replace.
func (c *catalog) set(parent uint32, name string, body place, flags uint8) (lost bool) {
	i, ok := c.find(parent, name)
	if !ok {
		c.add(parent, name, body, flags)
		return false
	}
	n := &c.nodes[i]
	if n.flags&isDir != 0 && flags&isDir == 0 {
		lost = n.flags&hasChild != 0
		c.remove(i)
		c.add(parent, name, body, flags)
		return lost
	}
	n.body, n.flags = body, n.flags&hasChild|flags
	return false
}

// children lists the nodes that have a parent, ordered by parent and name.
func (c *catalog) children() []uint32 {
	list := make([]uint32, 0, len(c.nodes))
	for i := range c.nodes {
		if c.nodes[i].parent != nowhere {
			list = append(list, uint32(i))
		}
	}
	slices.SortFunc(list, func(a, b uint32) int {
		if n := cmp.Compare(c.nodes[a].parent, c.nodes[b].parent); n != 0 {
			return n // without a look at the names, which takes most of the time
		}
		return bytes.Compare(c.name(a), c.name(b))
	})
	return list
}

// A place is where something begins in an arena: the number of a slab, and the
// offset in it.
type place uint64

// slabSize is the size of a slab in bytes; what is larger has one of its own.
const slabSize = 1 << 20

// An arena is memory that is only added to.
type arena struct{ slabs [][]byte }

// put copies b.
func (a *arena) put(b []byte) place {
	last := len(a.slabs) - 1
	if last < 0 || len(a.slabs[last])+len(b) > cap(a.slabs[last]) {
		a.slabs = append(a.slabs, make([]byte, 0, max(slabSize, len(b))))
		last++
	}
	at := len(a.slabs[last])
	a.slabs[last] = append(a.slabs[last], b...)
	return place(last)<<32 | place(at)
}

// at is all of a slab from a place on.
func (a *arena) at(p place) []byte { return a.slabs[p>>32][p&0xffffffff:] }

// The types of file as st_mode has them.
const (
	modeType    = unix.S_IFMT
	modeRegular = unix.S_IFREG
	modeDir     = unix.S_IFDIR
	modeSymlink = unix.S_IFLNK
	modeChar    = unix.S_IFCHR
	modeBlock   = unix.S_IFBLK
	modeFifo    = unix.S_IFIFO
)
